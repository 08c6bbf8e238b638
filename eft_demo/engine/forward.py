"""The forwards of a step: each model once, or once together with those that share its weights; log-probs out.

Knows feeds and models; does not know which tokens are part of a text and which are only drafted.
"""

import time
from collections import abc
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from eft_demo.engine.batch import Feed
from eft_demo.engine.costs import Costs
from eft_demo.engine.failures import ModelFailure
from eft_demo.errors import ModelError, NumericalError
from eft_demo.method.mixing import ControlTokens, pool_control_tokens, to_logprobs
from eft_demo.models.protocol import LanguageModel, ModelGroup, Slot
from eft_demo.settings import show_value


@dataclass(slots=True)
class Forwards:
    """The models, the groups among them that can share a forward, and the ids that stand for no text."""

    models: Mapping[str, LanguageModel]
    groups: abc.Sequence[ModelGroup]
    control_tokens: ControlTokens
    clock: Callable[[], float] = time.perf_counter  # seconds
    costs: Costs = field(default_factory=Costs)  # what each forward took
    spent_s: float = 0.0  # in forwards so far

    def run(
        self, feeds: abc.Sequence[Feed], blocks: abc.Sequence[Tensor], keep: int = 1
    ) -> list[Tensor] | None:
        """Append `blocks[i]` (rows, block) to the sequences of `feeds[i]`; log-probs (rows, keep, vocab).

        The blocks are all of one length. None, between two forwards, if nobody waits for them any more.
        Raises ModelFailure; what was fed by then is longer than its text (see `Sequence.settle`).
        """
        found: dict[int, Tensor] = {}
        for unit in self._units(feeds):
            if all(seq.run.cancelled for feed in feeds for seq in feed.seqs):
                return None
            roles = [feeds[i].role for i in unit]
            start = self.clock()
            try:
                logits = self._forward({feeds[i].role: (feeds[i].slots, blocks[i]) for i in unit}, keep)
                for role, seqs in {feeds[i].role: len(blocks[i]) for i in unit}.items():
                    self._check(role, logits.get(role), seqs, keep)
            except Exception as error:  # a model's failure is its own sequences' only
                raise ModelFailure(roles, [seq for i in unit for seq in feeds[i].seqs], error) from error
            for i in unit:
                found[i] = self._logprobs(feeds[i], logits[feeds[i].role])
            taken_s = self.clock() - start  # on a GPU too: the log-probs were looked at
            self.spent_s += taken_s
            self.costs.add(self.unit_of(roles[0]), sum(blocks[i].numel() for i in unit), taken_s)
        return [found[i] for i in range(len(feeds))]

    def _units(self, feeds: abc.Sequence[Feed]) -> list[list[int]]:
        """Which feeds share a forward, by index."""
        units: dict[object, list[int]] = {}
        for i, feed in enumerate(feeds):
            units.setdefault(self.unit_of(feed.role), []).append(i)
        return list(units.values())

    def unit_of(self, role: str) -> object:
        """The group in whose forward a role takes part, or the role itself."""
        return next((group for group in self.groups if role in group.members), role)

    def partners(self, roles: Collection[str]) -> frozenset[str]:
        """`roles`, and whoever shares a forward with one of them."""
        units = {self.unit_of(role) for role in roles}
        return frozenset(role for role in self.models if self.unit_of(role) in units)

    def _forward(
        self, parts: Mapping[str, tuple[abc.Sequence[Slot], Tensor]], keep: int
    ) -> dict[str, Tensor]:
        if len(parts) == 1:
            ((role, (slots, tokens)),) = parts.items()
            return {role: self.models[role].forward(slots, tokens, keep)}
        group = next(group for group in self.groups if group.members.issuperset(parts))
        return group.forward(parts, keep)

    def _check(self, role: str, logits: object, seqs: int, keep: int) -> None:
        """Raises ModelError unless these are logits (rows, keep, vocab): another shape would be mixed too."""
        wanted = (seqs, keep, self.models[role].vocab)
        if not isinstance(logits, Tensor):
            raise ModelError(f"The model {role} returned {show_value(logits)} in the place of its logits.")
        if tuple(logits.shape) != wanted or not logits.is_floating_point():
            raise ModelError(
                f"The model {role} returned logits of the shape {tuple(logits.shape)} as {logits.dtype}, and "
                f"{wanted} of a floating type were asked for, so this text ends here. Please choose another "
                "model; this one's code has a fault."
            )

    def _logprobs(self, feed: Feed, logits: Tensor) -> Tensor:
        """(rows, keep, vocab) -> log-probs of the same shape."""
        rows, keep, vocab = logits.shape
        try:
            pooled = pool_control_tokens(logits.reshape(-1, vocab), self.control_tokens)
            return to_logprobs(pooled, feed.role).view(rows, keep, vocab)
        except NumericalError as error:
            bad = sorted({i // keep for i in error.rows})
            hit = feed.seqs if len(bad) == rows else [feed.seqs[i] for i in bad]
            raise ModelFailure([feed.role], hit, error) from error
