"""Device memory: how much is free, recognising errors when it runs out, and freeing it."""

import ctypes
import gc
import sys

import torch

from eft_demo.errors import OutOfMemory
from eft_demo.host.limits import free_bytes, is_memory_error

CPU = "cpu"
REMOTE = "remote"  # as a device: a server has it


def free_memory() -> dict[str, int]:
    """Free bytes on every device that can hold models: the CPU and each GPU."""
    free = {CPU: free_bytes()}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free[f"cuda:{index}"] = torch.cuda.mem_get_info(index)[0]
    return free


def free_unused() -> None:
    """Return unused memory to the devices. Call it after dropping the last reference to a model."""
    gc.unfreeze()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # glibc keeps freed memory for later: after loading in 4 bits, as much as the model itself takes.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def freeze_loaded_objects() -> None:
    """Exempt everything loaded so far, such as libraries and models, from garbage collection.

    The collector pauses the program, so it should not scan these again and again. `free_unused` still does.
    """
    free_unused()
    gc.freeze()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that a device ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or is_memory_error(error)


def out_of_memory(model: str, attempt: str) -> OutOfMemory:
    """The error to show. `attempt` completes `There is not enough memory for MODEL to ...`."""
    free = ", ".join(f"{device} {room / 1e9:.1f} GB" for device, room in free_memory().items())
    return OutOfMemory(
        f"There is not enough memory for {model} to {attempt} (free: {free}). Please shorten the text, show "
        "fewer columns, store the large model with --quantisation nf4, or choose a smaller family."
    )
