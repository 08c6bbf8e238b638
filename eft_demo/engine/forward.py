"""The forwards of a step: one per model or group of models that share weights. Returns log-probs.

Knows feeds and models; does not know which tokens belong to a text and which are only drafts.
"""

import time
from collections import abc
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from eft_demo.engine.batch import Feed
from eft_demo.engine.costs import Costs
from eft_demo.engine.failures import ModelFailure
from eft_demo.engine.prefix_cache import PrefixCache
from eft_demo.engine.sequence import Sequence
from eft_demo.errors import ModelError, NumericalError
from eft_demo.method.mixing import ControlTokens, pool_control_tokens, to_logprobs
from eft_demo.models.protocol import Elsewhere, LanguageModel, ModelGroup, SendsTop, Slot, Starts
from eft_demo.settings import show_value

CPU = torch.device("cpu")


def by_feed(feeds: abc.Sequence[Feed], found: Tensor) -> abc.Sequence[Tensor]:
    """The rows of each feed in what `Forwards.run` returned."""
    parts: tuple[Tensor, ...] = found.split([len(feed.slots) for feed in feeds])
    return parts


@dataclass(frozen=True, slots=True)
class _Started:
    """A forward that has begun: what waits for its logits, and when it began."""

    finish: Callable[[], Tensor]
    began_s: float


@dataclass(slots=True)
class Forwards:
    """The models, the groups of them that can share a forward, and the control tokens."""

    models: Mapping[str, LanguageModel]
    groups: abc.Sequence[ModelGroup]
    control_tokens: ControlTokens
    clock: Callable[[], float] = time.perf_counter  # seconds
    prefixes: PrefixCache = field(default_factory=lambda: PrefixCache({}, 0))
    costs: Costs = field(default_factory=Costs)  # what each forward took
    spent_s: float = 0.0  # in forwards so far
    device: torch.device = (
        CPU  # for log-probs: that of the first model that is not on the CPU, if there is one
    )
    beside: Mapping[str, Starts] = field(init=False)  # the models that run beside other work
    elsewhere: Mapping[str, Elsewhere] = field(init=False)  # those of other processes
    cut: Mapping[str, SendsTop] = field(init=False)  # those that send only the likeliest log-probs

    def __post_init__(self) -> None:
        self.beside = {role: model for role, model in self.models.items() if isinstance(model, Starts)}
        self.elsewhere = {role: model for role, model in self.models.items() if isinstance(model, Elsewhere)}
        self.cut = {role: model for role, model in self.models.items() if isinstance(model, SendsTop)}

    def run(
        self, feeds: abc.Sequence[Feed], blocks: abc.Sequence[Tensor], keep: int = 1, spare: int = 0
    ) -> Tensor | None:
        """Append `blocks[i]` (rows, block) to the sequences of `feeds[i]`.

        Returns log-probs (rows of all feeds, keep, vocab), followed by `spare` rows that are not written yet.
        All blocks have the same length. None if every run was cancelled before one of the forwards.
        Raises ModelFailure, with NotYet if a model elsewhere lets us wait; some slots are then longer than
        their text (see `Sequence.roll_back_unsent`).
        """
        vocab = self.models[feeds[0].role].vocab
        stack = torch.empty(sum(map(len, blocks)) + spare, keep, vocab, device=self.device)
        started: dict[str, _Started] = {}
        try:
            units = self._grouped(feeds)
            self._start(units, feeds, blocks, keep, started)
            # The others run meanwhile, and what is done first is read first.
            for unit in sorted(units, key=partial(self._duration_s, feeds, blocks, started)):
                if all(seq.run.cancelled for feed in feeds for seq in feed.seqs):
                    return None
                mine, since_s = [feeds[i] for i in unit], self.clock()
                sent = started.pop(mine[0].role, None)
                logits = self._logits(mine, [blocks[i] for i in unit], keep, sent)
                if (device := logits[mine[0].role].device) != self.device and self.device.type == "cpu":
                    self.device, stack = device, stack.to(device)
                parts = stack[: len(stack) - spare].split([len(block) for block in blocks])
                for i in unit:
                    self._write_logprobs(feeds[i], logits[feeds[i].role].to(self.device), parts[i])
                now_s = self.clock()  # valid on a GPU too: checking the log-probs waited for it
                self.spent_s += now_s - since_s
                tokens = sum(blocks[i].numel() for i in unit)
                self.costs.add(
                    self.group_of(mine[0].role), tokens, now_s - (sent.began_s if sent else since_s)
                )
        finally:
            for sent in started.values():  # a server answers one request at a time
                with suppress(Exception):
                    sent.finish()
        return stack

    def _logits(
        self, feeds: abc.Sequence[Feed], blocks: abc.Sequence[Tensor], keep: int, sent: "_Started | None"
    ) -> Mapping[str, Tensor]:
        """The logits (rows, keep, vocab) of feeds that share a forward, by role. Raises ModelFailure."""
        try:
            logits = (
                {feeds[0].role: sent.finish()}
                if sent
                else self._forward(
                    {feed.role: (feed.slots, block) for feed, block in zip(feeds, blocks, strict=True)}, keep
                )
            )
            for feed, block in zip(feeds, blocks, strict=True):
                self._check(feed.role, logits.get(feed.role), len(block), keep)
        except Exception as error:  # a failing model ends only the sequences that use it
            roles, seqs = [feed.role for feed in feeds], [seq for feed in feeds for seq in feed.seqs]
            raise ModelFailure(roles, seqs, error) from error
        return logits

    def _start(
        self,
        units: abc.Sequence[abc.Sequence[int]],
        feeds: abc.Sequence[Feed],
        blocks: abc.Sequence[Tensor],
        keep: int,
        started: dict[str, "_Started"],
    ) -> None:
        """Begin the forwards that run beside others, and note them in `started`. Raises ModelFailure."""
        for i in (unit[0] for unit in units if len(unit) == 1):
            feed = feeds[i]
            if feed.role in self.beside:
                began_s = self.clock()
                try:
                    finish = self.beside[feed.role].start(feed.slots, blocks[i], keep)
                except Exception as error:
                    raise ModelFailure([feed.role], feed.seqs, error) from error
                started[feed.role] = _Started(finish, began_s)

    def _duration_s(
        self,
        feeds: abc.Sequence[Feed],
        blocks: abc.Sequence[Tensor],
        started: Mapping[str, "_Started"],
        unit: abc.Sequence[int],
    ) -> float:
        """How long a forward that has begun usually takes; before all others, those that have not."""
        role = feeds[unit[0]].role
        tokens = sum(blocks[i].numel() for i in unit)
        return self.costs.usual(self.group_of(role), tokens) or 0.0 if role in started else -1.0

    def _grouped(self, feeds: abc.Sequence[Feed]) -> list[list[int]]:
        """The feeds that share a forward, as lists of indices."""
        units: dict[object, list[int]] = {}
        for i, feed in enumerate(feeds):
            units.setdefault(self.group_of(feed.role), []).append(i)
        return list(units.values())

    def late_s(self, role: str) -> float:
        """For how many seconds the answer of a model elsewhere has been due; 0 if none is."""
        return self.elsewhere[role].late_s if role in self.elsewhere else 0.0

    def waits(self, seq: Sequence) -> bool:
        """Whether an answer that this sequence needs is late."""
        if not self.elsewhere:
            return False
        drafters = [seq.drafting.role] if seq.drafting else []
        return any(map(self.late_s, [*seq.roles, *drafters]))

    def group_of(self, role: str) -> object:
        """The group whose forward the role shares, or the role itself."""
        return next((group for group in self.groups if role in group.members), role)

    def partners(self, roles: Collection[str]) -> frozenset[str]:
        """`roles` and every role that shares a forward with one of them."""
        units = {self.group_of(role) for role in roles}
        return frozenset(role for role in self.models if self.group_of(role) in units)

    def _forward(
        self, parts: Mapping[str, tuple[abc.Sequence[Slot], Tensor]], keep: int
    ) -> dict[str, Tensor]:
        if len(parts) == 1:
            ((role, (slots, tokens)),) = parts.items()
            return {role: self.models[role].forward(slots, tokens, keep)}
        group = next(group for group in self.groups if group.members.issuperset(parts))
        return group.forward(parts, keep)

    def _check(self, role: str, logits: object, seqs: int, keep: int) -> None:
        """Raises ModelError unless these are logits (rows, keep, vocab): mixing would accept other shapes."""
        wanted = (seqs, keep, self.models[role].vocab)
        if not isinstance(logits, Tensor):
            raise ModelError(f"The model {role} returned {show_value(logits)} instead of logits.")
        if tuple(logits.shape) != wanted or not logits.is_floating_point():
            raise ModelError(
                f"The model {role} returned logits of shape {tuple(logits.shape)} and type {logits.dtype}; "
                f"expected shape {wanted} and a floating-point type. This text ends here. The model's code "
                "has a bug, so please choose another model."
            )

    def _write_logprobs(self, feed: Feed, logits: Tensor, out: Tensor) -> None:
        """(rows, keep, vocab) -> log-probs of the same shape, in `out`."""
        rows, keep, _ = logits.shape
        try:
            pooled = pool_control_tokens(logits.flatten(0, 1), self.control_tokens)
            to_logprobs(pooled, feed.role, out.flatten(0, 1))
        except NumericalError as error:
            bad = sorted({i // keep for i in error.rows})
            hit = feed.seqs if len(bad) == rows else [feed.seqs[i] for i in bad]
            raise ModelFailure([feed.role], hit, error) from error
