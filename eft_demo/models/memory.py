"""Memory of the devices: how much is free, what it looks like when there is none, how to give it back."""

import ctypes
import gc
import sys

import torch

from eft_demo.errors import OutOfMemory
from eft_demo.host.limits import free_bytes, is_memory_error

CPU = "cpu"


def free_memory() -> dict[str, int]:
    """Bytes free on every device that models may stand on: the CPU's memory, and each GPU's."""
    free = {CPU: free_bytes()}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free[f"cuda:{index}"] = torch.cuda.mem_get_info(index)[0]
    return free


def free_unused() -> None:
    """Give memory back to the devices after the last reference to a model is gone."""
    gc.unfreeze()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # glibc keeps what was freed for later: after loading in 4 bits, as much again as the model takes.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def settle() -> None:
    """What is there now is here to stay: the libraries, the models in use.

    Python's collector, which stops all else, need not go through it again and again. `free_unused` does.
    """
    free_unused()
    gc.freeze()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device had no room."""
    return isinstance(error, torch.OutOfMemoryError) or is_memory_error(error)


def out_of_memory(model: str, attempt: str) -> OutOfMemory:
    """The sentence for it. `attempt` completes `There is not enough memory for MODEL to ...`."""
    free = ", ".join(f"{device} {room / 1e9:.1f} GB" for device, room in free_memory().items())
    return OutOfMemory(
        f"There is not enough memory for {model} to {attempt} (free: {free}). Please shorten the text, show "
        "fewer columns, store the large model with --quantisation nf4, or choose a smaller family."
    )
