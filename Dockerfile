FROM python:3.12-slim

# The index for torch: PyTorch's CPU builds keep the image small. For NVIDIA GPUs (3 GB larger):
#   --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 user
USER 1000
ENV HOME=/home/user \
    PATH=/home/user/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EFT_HOST=0.0.0.0 \
    EFT_PORT=7860 \
    HF_HOME=/home/user/.cache/huggingface
WORKDIR /home/user/app

# Layers that change least come first. Creating the model cache here lets a volume mounted there belong to the user.
COPY --chown=1000 requirements.txt .
RUN mkdir -p "$HF_HOME" \
    && python -m venv /home/user/venv \
    && pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -r requirements.txt
COPY --chown=1000 assets assets
COPY --chown=1000 LICENSE app.py ./
COPY --chown=1000 eft_demo eft_demo

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"EFT_PORT\"]}/healthz', timeout=4)"]
ENTRYPOINT ["python", "app.py"]
