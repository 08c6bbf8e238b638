"""A stand-in for CUDA graphs on a CPU: what it records runs the same operations on the same tensors again.

Like a CUDA graph it freezes every Python value and every address, and fails where a result is read.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from eft_demo.models import graphs
from eft_demo.models.graphs import Graphs
from eft_demo.models.hf import GraphedModel, TransformersModel
from eft_demo.models.norms import fuse_norms


class CpuRecorder:
    """Records on a CPU. It counts replays, and that each is waited for before the next one."""

    def __init__(self) -> None:
        self.replays = 0
        self.unread = 0  # how many were started and not waited for

    def record(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """What `work` does now, to be repeated."""
        recorded = make_fx(work)()

        def replay() -> Tensor:
            self.replays += 1
            logits: Tensor = recorded()
            return logits

        return replay

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Nothing runs beside on a CPU; what is started is counted."""
        self.unread += 1
        assert self.unread == 1, "the one before was not read, and its logits are overwritten now"
        yield

    def join(self) -> None:
        """Wait."""
        self.unread -= 1

    def forget(self) -> None:
        """Nothing is kept here."""


def with_graphs(
    model: TransformersModel, monkeypatch: pytest.MonkeyPatch, recorder: CpuRecorder | None = None
) -> GraphedModel:
    """The same model with recorded steps, from the first one of a shape on."""
    monkeypatch.setattr(graphs, "SEEN", 1)
    fuse_norms(model.model)  # as when it is loaded
    recorded = GraphedModel(model.name, model.model, model.context, model.vocab, model.cache.dtype)
    recorded.graphs = Graphs(recorded.cache, recorded._logits, recorder or CpuRecorder())
    return recorded
