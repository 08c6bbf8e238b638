"""What a step does with whole vocabularies, counted: no pass is made twice, and only short lists are read."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eft_demo.engine.engine import Engine
from eft_demo.lab.vocabulary import MadeUpModel, made_up_engine, step_s
from eft_demo.method.sampling import Sampling
from eft_demo.settings import Settings

VOCAB = 20_000
STEPS = 8
# These touch only the places they are given.
SPARSE = {"index_fill_", "index_put_", "gather", "index", "empty", "empty_like", "fill_"}
READS = {
    Tensor.tolist,
    Tensor.item,
    Tensor.numpy,
    Tensor.cpu,
    Tensor.__bool__,
    Tensor.__int__,
    Tensor.__float__,
}


class Passes(TorchDispatchMode):
    """Counts, by name of the operation, the rows of whole vocabularies that it reads or writes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Any = (), kwargs: Any = None
    ) -> object:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        is_view = func.is_view and any(_memory(m) == _memory(g) for m in made for g in given)
        if not is_view and name not in SPARSE:
            seen = made if name == "index_select" else [*given, *made]
            self.rows[name] += max((tensor.numel() for tensor in seen), default=0) // VOCAB
        return found


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Reads(TorchFunctionMode):
    """Counts what the host reads of tensors: how often, and the most values at once."""

    def __init__(self) -> None:
        super().__init__()
        self.times = self.most = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: Any = (), kwargs: Any = None
    ) -> object:
        if func in READS:
            self.times += 1
            self.most = max(self.most, args[0].numel())
        return func(*args, **(kwargs or {}))


def engine_of(spread: float) -> Engine:
    return made_up_engine(VOCAB, spread, torch.bfloat16, Settings(threads=1))


def test_a_step_makes_no_pass_over_the_vocabulary_twice() -> None:
    """Three columns: two rows of the large base, two of the tuned model, one of the small base, one mixed."""
    engine = engine_of(4.5)
    step_s(engine, Sampling(), 2)
    with Passes() as passes:
        step_s(engine, Sampling(), STEPS)
    each = {name: rows / STEPS for name, rows in passes.rows.items() if rows}
    assert each == {
        "to": 5,  # a copy of the logits, in which control tokens are pooled
        "log_softmax": 5 + 1 + 3,  # models, mix, and each column at its temperature
        "sub": 1,  # delta
        "nan_to_num_": 1,
        "mul_": 1,
        "addcmul": 1,  # the mix
        "index_select": 3,  # the log-probs that each column is drawn from
        "div": 3,  # by the temperature
        "amax": 2 + 3 + 6,  # log_z; the likeliest of each column, and of every row that is listed
        "softmax": 3,  # entropy, with the next three
        "clamp": 3,
        "linalg_vecdot": 3,
        "sum": 3,  # rank, with gt
        "gt": 3 + 1,  # and delta outside the anchor's support
    }


def test_flat_distributions_are_neither_sorted_nor_listed() -> None:
    engine = engine_of(0.02)
    step_s(engine, Sampling(), 2)
    with Passes() as passes:
        step_s(engine, Sampling(), STEPS)
    assert not {"sort", "topk", "cumsum", "exp", "masked_fill"} & {
        n for n, rows in passes.rows.items() if rows
    }


def test_a_step_reads_only_what_it_lists() -> None:
    engine = engine_of(9.0)  # few tokens are likely
    step_s(engine, Sampling(), 2)
    with Reads() as reads:
        step_s(engine, Sampling(), STEPS)
    assert reads.times <= 10 * STEPS and reads.most < 1000


class ReadsOfDevice(TorchFunctionMode):
    """Counts how often the host reads tensors of another device; they have no values, so it makes some up."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: Any = (), kwargs: Any = None
    ) -> object:
        if func is not Tensor.tolist or args[0].is_cpu:
            return func(*args, **(kwargs or {}))
        self.times += 1
        assert args[0].numel() < VOCAB
        made_up = np.zeros(tuple(args[0].shape), float if args[0].is_floating_point() else int)
        made_up[..., 1:] -= 30 * (made_up.ndim > 1)  # of a row of log-probs only the first is likely
        return made_up.tolist()


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_step_on_another_device_stays_there_and_brings_only_short_lists(temperature: float) -> None:
    """The device is `meta`: it has shapes and no values, and refuses to be copied or mixed with another."""
    engine = made_up_engine(VOCAB, 4.5, torch.bfloat16, Settings(threads=1))
    for model in engine.models.values():
        assert isinstance(model, MadeUpModel)
        model.logits = model.logits.to("meta")
    with ReadsOfDevice() as reads:
        step_s(engine, Sampling(temperature), STEPS)
    assert engine.forwards.device.type == "meta"
    # Each forward is checked, which also waits for it; then the mix, the tokens, and what is listed.
    assert reads.times == STEPS * (len(engine.models) + 3)
