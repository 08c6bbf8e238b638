#!/usr/bin/env bash
# Checks and measures everything that needs a GPU, in one go and below 8 minutes, and writes one JSON file. On a machine without one, --small runs the same
# steps on the CPU with small shapes, in less than a minute.
#   bash scripts/gpu_check.sh [--small] [--out FILE] [--folder FOLDER] [--minutes N]
# It uses EFT_PYTHON, or the repository's virtual environment, or python3. Nothing is downloaded: what a bare machine with torch and transformers lacks
# (bitsandbytes, pydantic with its parts, psutil) is installed from the wheels in EFT_WHEELS, by default wheels/, for this run only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${EFT_PYTHON:-}
if [ -z "$python" ]; then
    if [ -x .venv/bin/python ]; then python=.venv/bin/python; else python=python3; fi
fi
wheels=${EFT_WHEELS:-wheels}
if compgen -G "$wheels/*.whl" > /dev/null; then
    extra=$(mktemp -d)
    trap 'rm -rf "$extra"' EXIT
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --target "$extra" "$wheels"/*.whl
    export PYTHONPATH=$extra${PYTHONPATH:+:$PYTHONPATH}
fi
"$python" scripts/gpu_check.py "$@"
