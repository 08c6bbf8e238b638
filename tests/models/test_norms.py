"""RMS norms are replaced by torch's own only where both agree."""

import pytest
import torch
from torch import Tensor, nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm

from eft_demo.models.norms import fuse_norms

WIDTH = 64


def filled(norm: nn.Module, dtype: torch.dtype) -> nn.Module:
    nn.init.uniform_(norm.get_parameter("weight"), 0.5, 2)
    return norm.to(dtype).requires_grad_(False)


def shapes(dtype: torch.dtype) -> Tensor:
    return 5 * torch.randn(3, 2, WIDTH, generator=torch.Generator().manual_seed(1)).to(dtype) + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Olmo2RMSNorm])
def test_a_written_out_norm_is_replaced_and_gives_the_same(
    kind: type[nn.Module], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(filled(kind(WIDTH, 1e-5), dtype))
    expected = model(shapes(dtype))
    assert fuse_norms(model) == 1
    found = model(shapes(dtype))
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=2 * torch.finfo(dtype).eps)
    monkeypatch.setattr(kind, "forward", None)
    assert model(shapes(dtype)).equal(found), "the library's forward still runs"


class OtherRMSNorm(nn.Module):
    """A norm with another meaning of its weight or its eps."""

    def __init__(self, added: float, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.rand(WIDTH), requires_grad=False), 1e-6
        self.added, self.own_eps = added, eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., width)."""
        return x * (x.pow(2).mean(-1, keepdim=True) + self.own_eps).rsqrt() * (self.weight + self.added)


@pytest.mark.parametrize(
    "norm", [Gemma3RMSNorm(WIDTH), OtherRMSNorm(1.0, 1e-6), OtherRMSNorm(0.0, 0.1), nn.LayerNorm(WIDTH)]
)
def test_other_norms_stay(norm: nn.Module) -> None:
    model = nn.Sequential(filled(norm, torch.float32))
    expected = model(shapes(torch.float32))
    assert fuse_norms(model) == 0
    assert model(shapes(torch.float32)).equal(expected)
    same = OtherRMSNorm(0.0, 1e-6)
    assert fuse_norms(same) == 1
