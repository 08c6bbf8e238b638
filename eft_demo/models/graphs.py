"""CUDA graphs of a model's short forwards: a step is one launch on the host instead of a thousand.

A GPU finishes the kernels of a few tokens before the host has started the next ones, so a step that starts
them one by one takes as long as the host needs. A graph fixes every shape and address. Therefore rows are
padded to a few counts and their ends to powers of two, and a graph reads its numbers from one small tensor.
Knows a cache and a function that computes logits; knows no architecture. A model that cannot be recorded, or
whose graph gives other logits, goes on without graphs.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from eft_demo.errors import error_text
from eft_demo.models.kv_cache import SlotCache
from eft_demo.models.protocol import Slot

log = logging.getLogger(__name__)

ROW_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
FIRST_END = 256  # tokens
MAX_BLOCK = 9  # tokens per row: the most that drafts need; longer blocks keep a GPU busy without a graph
SEEN = 3  # a shape is recorded when it comes up for the third time
MAX_GRAPHS = 48  # per model
# How far a graph's logits may be from those without it, in their spread: 16-bit kernels differ with the mask.
OFF = 0.05

Work = Callable[[], Tensor]


class Recorder(Protocol):
    """Makes graphs of work on one device, and lets them run beside other work."""

    def record(self, work: Work) -> Work:
        """A function that repeats `work`, which returns logits: valid until another one is called."""
        ...

    def beside(self) -> AbstractContextManager[object]:
        """What is started inside runs beside what others start later."""
        ...

    def join(self) -> None:
        """Let what is started from now on wait for what was started beside."""
        ...

    def forget(self) -> None:
        """All graphs recorded so far are gone."""
        ...


class Shape(NamedTuple):
    """What a graph is made for: first row, number of rows, tokens per row, tokens in view, logits kept."""

    start: int
    rows: int
    block: int
    end: int
    keep: int


@dataclass(frozen=True, slots=True)
class _Graph:
    numbers: Tensor  # (3, rows * block) int64: tokens, their positions, and where the cache keeps them
    replay: Work  # returns the logits (rows, keep, vocab), valid until the next call


class Graphs:
    """The graphs of one model, recorded when a shape comes up again."""

    def __init__(
        self,
        cache: SlotCache,
        logits_of: Callable[[Tensor, Tensor | None, int], Tensor],
        recorder: Recorder,
    ) -> None:
        """`logits_of(tokens, mask, keep)` is the forward."""
        self._cache, self._logits_of, self._recorder = cache, logits_of, recorder
        self._graphs: dict[Shape, _Graph] = {}
        self._seen: Counter[Shape] = Counter()
        self._storage = cache.growths  # which storage the graphs read
        self._works = True

    def start(self, slots: Sequence[Slot], tokens: Tensor, keep: int) -> Work | None:
        """Begin the forward of `tokens` (rows, block); None if no graph fits.

        The result returns the logits (rows, keep, vocab) and is called before the next start. The caller
        commits the block. Runs in inference mode.
        """
        shape = self._shape(slots, tokens.shape[1], keep)
        if shape is None:
            return None
        if self._storage != self._cache.growths:  # the addresses have changed
            self._storage = self._cache.growths
            self._forget()
        numbers = self._numbers(shape, slots, tokens)
        graph = self._graphs.get(shape)
        if graph is None:
            self._seen[shape] += 1
            graph = self._record(shape, numbers, len(slots)) if self._seen[shape] >= SEEN else None
            if graph is None:
                return None
        with self._recorder.beside():
            # The host goes on at once only if the copy is from pinned memory.
            graph.numbers.copy_(numbers.pin_memory() if graph.numbers.is_cuda else numbers, non_blocking=True)
            logits = graph.replay()

        def finish() -> Tensor:
            self._recorder.join()
            return logits[: len(slots)].clone()

        return finish

    def _shape(self, slots: Sequence[Slot], block: int, keep: int) -> Shape | None:
        start, count = slots[0].index, len(slots)
        dense = [slot.index for slot in slots] == list(range(start, start + count))
        end = max(slot.length for slot in slots) + block
        context = self._cache.context
        if not (self._works and dense) or block > MAX_BLOCK or end > context:
            return None
        rows = next((rows for rows in ROW_COUNTS if rows >= count), count)
        room = start + rows <= len(self._cache.store[-1])
        if not room or any(length + block > context for length in self._beside(start + count, start + rows)):
            rows = count
        return Shape(start, rows, block, min(max(FIRST_END, 1 << (end - 1).bit_length()), context), keep)

    def _beside(self, start: int, end: int) -> list[int]:
        """The lengths of the rows that only fill up a graph.

        What a graph writes there lies behind each row's own tokens, where its next token will go.
        """
        slots = self._cache.slots
        return [slots[i].length if i < len(slots) else 0 for i in range(start, end)]

    def _numbers(self, shape: Shape, slots: Sequence[Slot], tokens: Tensor) -> Tensor:
        lengths = [slot.length for slot in slots]
        lengths += self._beside(shape.start + len(slots), shape.start + shape.rows)
        ids = tokens.flatten().tolist()
        ids += [0] * (shape.rows * shape.block - len(ids))
        positions = [length + step for length in lengths for step in range(shape.block)]
        context, firsts = self._cache.context, range(shape.start, shape.start + shape.rows)
        places = [
            row * context + length + step
            for row, length in zip(firsts, lengths, strict=True)
            for step in range(shape.block)
        ]
        return torch.tensor([ids, positions, places])

    def _record(self, shape: Shape, numbers: Tensor, count: int) -> _Graph | None:
        """A graph of this shape; None if the model cannot be recorded."""
        if len(self._graphs) == MAX_GRAPHS:
            self._forget()
        own = numbers.to(self._cache.devices[0])

        def work() -> Tensor:
            ids, positions, places = own.view(3, shape.rows, shape.block).unbind()
            rows = slice(shape.start, shape.start + shape.rows)
            mask = self._cache.begin_at(rows, positions, places.flatten(), shape.end)
            return self._logits_of(ids, mask, shape.keep)

        try:
            expected = work()[:count].clone()
            graph = _Graph(own, self._recorder.record(work))
            with self._recorder.beside():
                found = graph.replay()[:count]
            self._recorder.join()
            off = float((found - expected).float().std() / expected.float().std())
        except Exception as error:  # libraries raise anything here, also for want of memory
            self._give_up(error_text(error))
            return None
        if off > OFF:  # False for NaN, which no graph can be blamed for
            self._give_up(f"its graph gives logits that are {off:.2g} of their spread away")
            return None
        self._graphs[shape] = graph
        return graph

    def _give_up(self, reason: str) -> None:
        self._works = False
        self._forget()
        log.info("A model runs without CUDA graphs: %s", reason)

    def _forget(self) -> None:
        self._graphs.clear()
        self._recorder.forget()


class CudaRecorder:
    """Records on one GPU. All graphs of a model share their memory, so one result is valid at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None  # of the memory that all graphs share

    @cached_property  # when first needed: on a Space, a model is loaded before there is a GPU
    def _stream(self) -> torch.cuda.Stream:
        # Recording needs a stream of its own, and so do graphs of several models that run beside each other.
        return torch.cuda.Stream(self._device)

    def record(self, work: Work) -> Work:
        """A function that repeats `work`."""
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        with self.beside():
            work()  # libraries set themselves up for each stream, which cannot be recorded
            try:
                # Only this thread's work is recorded: another one may be loading a family meanwhile.
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    logits = work()
                finally:
                    graph.capture_end()
            except BaseException:
                self._clean_up()
                raise
        self.join()

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What is started inside waits only for what was started before."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """Let what is started from now on wait for what was started beside."""
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def forget(self) -> None:
        """All graphs recorded so far are gone, and with the last of them their memory."""
        self._pool = None

    def _clean_up(self) -> None:
        """After a failed recording, end what torch leaves open: it would refuse to draw random numbers."""
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        fresh = torch.Generator(torch.device("cuda", index))
        torch.cuda.default_generators[index].graphsafe_set_state(fresh.graphsafe_get_state())
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(index, self._pool)
