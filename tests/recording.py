"""A stand-in for CUDA graphs on a CPU: what it records runs the same operations on the same tensors again.

Like a CUDA graph it freezes every Python value and every address, and fails where a result is read.
"""

from collections.abc import Callable

import pytest
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from eft_demo.models import graphs
from eft_demo.models.graphs import Graphs
from eft_demo.models.hf import TransformersModel


def record(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """What `work` does now, to be repeated."""
    recorded: Callable[[], Tensor] = make_fx(work)()
    return recorded


def with_graphs(model: TransformersModel, monkeypatch: pytest.MonkeyPatch) -> TransformersModel:
    """The model with recorded steps, from the first one of a shape on."""
    monkeypatch.setattr(graphs, "SEEN", 1)
    model.graphs = Graphs(model.cache, model._logits, record)
    return model
