"""Hugging Face Spaces with ZeroGPU: the decorator that allocates the GPU for one run."""

from eft_demo.engine.zerogpu import GpuDecorator
from eft_demo.errors import InputError
from eft_demo.settings import Settings


def gpu_decorator(settings: Settings) -> GpuDecorator | None:
    """ZeroGPU's decorator on such a Space, None anywhere else. Must be called before models are loaded.

    Importing `spaces` there makes torch report a GPU, so that models can be placed on it before one is
    allocated. Raises InputError if the package is missing.
    """
    if not settings.zero_gpu:
        return None
    try:
        import spaces  # noqa: PLC0415 (only Spaces have it and need it)
    except ImportError:
        raise InputError(
            "This is a Space with ZeroGPU (SPACES_ZERO_GPU is set), but the package `spaces` is not "
            "installed. Please add it to requirements.txt, or choose other hardware in the Space's settings."
        ) from None
    decorator: GpuDecorator = spaces.GPU
    return decorator
