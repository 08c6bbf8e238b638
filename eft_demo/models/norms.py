"""RMS norms that a library writes out, eight GPU kernels each, replaced by torch's own, which is one.

A model has two or more in each layer, and starting their kernels takes a tenth of a short forward. Up to
rounding, the results are the same, which is tried for each norm before it is replaced.
"""

import copy
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

ROUNDINGS = 4  # how many of them the results may be apart


@torch.inference_mode()
def fuse_norms(model: nn.Module) -> int:
    """Replace the RMS norms of `model` that are `weight * x / sqrt(mean(x^2) + eps)`; returns how many."""
    replaced = 0
    for module in model.modules():
        weight = getattr(module, "weight", None)
        eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        if not type(module).__name__.endswith("RMSNorm") or weight is None or not isinstance(eps, float):
            continue
        fused = partial(F.rms_norm, normalized_shape=tuple(weight.shape), weight=weight, eps=eps)
        if _agree(module, eps):
            module.forward = fused
            replaced += 1
    return replaced


def _agree(module: nn.Module, eps: float) -> bool:
    """Whether a norm gives what torch's own does; tried on the CPU, as a GPU may come only with a run."""
    here = copy.deepcopy(module).cpu()
    weight = here.get_parameter("weight")
    x = 3 * torch.randn(2, *weight.shape, generator=torch.Generator().manual_seed(0)) + 1
    expected = here(x.to(weight.dtype))
    found = F.rms_norm(x.to(weight.dtype), tuple(weight.shape), weight, eps)
    if found.dtype != expected.dtype:
        return False
    off = (found - expected).abs().max() / expected.abs().max()
    return bool(off <= ROUNDINGS * torch.finfo(weight.dtype).eps)
