"""How many tokens to draft: as many as make the slowest sequence of a step fastest, by measured costs.

A round with blocks of k costs k forwards of the models that step, one of k positions of the others, and
attributing all positions. A sequence that drafts gets 1 + a + ... + a^(k-1) tokens of it, if a is the
acceptance rate; a sequence that steps gets k, one that waits gets 1. Where no k gains, nothing is drafted.
Knows costs, sequences and their drafts; does not know how a round is played.
"""

from collections.abc import Callable, Collection, Mapping

from eft_demo.engine.batch import Layout
from eft_demo.engine.forward import Forwards
from eft_demo.engine.sequence import Drafting, Sequence
from eft_demo.engine.speculate import drafter_of
from eft_demo.method.speculation import MAX_BLOCK

BLOCKS = (2, 3, 4, 6, MAX_BLOCK)
FIRST_BLOCK = 4  # where one must be chosen before anything was measured
FIRST_ACCEPTANCE = 0.7  # hoped for, until it is known
GAIN = 1.1  # drafts must promise this much: estimates err, and a round that loses is slower than a step
RETHINK_AFTER = 8  # steps
# What so many sequences take in blocks of a length is a guess at first. The second round measures it, for the
# first of a kind has to prepare things.
RETHINK_A_GUESS_AFTER = 2  # steps
Cost = Callable[[object, int], float | None]  # kind, tokens -> seconds
PLAIN, ROUND = "beside the forwards of a plain step", "beside the forwards of a round"


class Pace:
    """Decides step by step; remembers how well drafts did, by anchor and drafter."""

    def __init__(self, forwards: Forwards) -> None:
        self.forwards = forwards
        self._acceptance: dict[tuple[str, str], float] = {}
        self._layout: Layout | None = None
        self._block = 0
        self._steps = 0
        self._tried: set[tuple[int, int]] = set()  # (rows, block)

    def drafting(self, seq: Sequence) -> Drafting | None:
        """Who drafts for a new sequence, if anybody may."""
        if seq.run.request.spec.speculation.mode == "off":
            return None
        prompts = seq.run.request.prompts
        role = drafter_of(seq.recipe, [role for role in self.forwards.models if prompts.get(role)])
        if role is None:
            return None
        expected = self._acceptance.get((seq.recipe.anchor, role), FIRST_ACCEPTANCE)
        return Drafting(role, expected, self.forwards.clock)

    def blocks(self, layout: Layout) -> dict[Sequence, int]:
        """How many tokens to draft for which sequence in the step to come; empty: a plain one."""
        able = [seq for seq in layout.seqs if self._may_draft(seq)]
        if not able:
            return {}
        asked = {seq: seq.run.request.spec.speculation for seq in able}
        given = max(speculation.block for speculation in asked.values())
        must = any(speculation.mode == "on" and not speculation.block for speculation in asked.values())
        # Where some have a block given, the others draft along: they would wait for that round anyway.
        block = given if given and not must else self._chosen(layout, able, must)
        return self._fitting(layout, {seq: asked[seq].block or block for seq in able})

    def _may_draft(self, seq: Sequence) -> bool:
        if not seq.drafting or not seq.drafting.trusted or not seq.position:
            return False  # the first token comes sooner without a round
        spec, controls = seq.run.request.spec, seq.run.controls
        if spec.speculation.mode == "on":
            return True
        # At alpha 0 two columns are to be equal bit for bit, so they go in step: read in other blocks, the
        # same text gives other roundings.
        recipes = [recipe for _, recipe in spec.columns]
        plain = {recipe.anchor for recipe in recipes if not recipe.terms}
        return all(any(r.coefficients(controls)) for r in recipes if r.terms and r.anchor in plain)

    def begin_round(self, layout: Layout, blocks: Collection[Sequence]) -> None:
        """Give the sequences that draft what a plain step would take."""
        fed = self._fed(layout, (), ())
        plain_s = self._seconds(self.forwards.costs.usual, layout, fed)
        for seq in blocks:
            if seq.drafting:
                seq.drafting.begin_round(seq.position, plain_s or 0.0)

    def clock_s(self) -> float:
        """The time, with the forwards left out."""
        return self.forwards.clock() - self.forwards.spent_s

    def took(self, kind: str, tokens: int, seconds: float) -> None:
        """A step of some kind that attributed so many tokens took so long by that clock."""
        self.forwards.costs.add(kind, tokens, seconds)

    def learn(self, seqs: Collection[Sequence]) -> None:
        """Remember for sequences to come how well the drafts of these do."""
        for seq in seqs:
            if seq.drafting:
                self._acceptance[seq.recipe.anchor, seq.drafting.role] = seq.drafting.expected

    def _fitting(self, layout: Layout, wanted: Mapping[Sequence, int]) -> dict[Sequence, int]:
        """Blocks cut to what the texts may still grow, and to the context of every model that reads them."""
        models = self.forwards.models
        room = min(models[r].context - seq.slots[r].length for seq in layout.seqs for r in seq.roles)
        fitting = {}
        for seq, block in wanted.items():
            assert seq.drafting is not None
            role = seq.drafting.role
            own = models[role].context - len(seq.run.request.prompts[role]) - seq.position + 1
            fitting[seq] = min(block, room, own, seq.max_new_tokens - seq.position)
        pointless = max(fitting.values()) < 2 <= max(wanted.values())
        return {} if pointless else {seq: block for seq, block in fitting.items() if block > 0}

    def _chosen(self, layout: Layout, able: Collection[Sequence], must: bool) -> int:
        self._steps += 1
        trial = len(layout.seqs), self._block
        after = RETHINK_AFTER if trial in self._tried else RETHINK_A_GUESS_AFTER
        if layout is self._layout:
            if self._steps < after:
                return self._block or FIRST_BLOCK * must
            self._tried.add(trial)
        self._layout, self._steps = layout, 0
        least = self.forwards.costs.least
        plain_s = self._seconds(least, layout, self._fed(layout, (), ()))
        if plain_s is None:
            return FIRST_BLOCK * must
        speeds = {block: self._slowest(layout, able, block) for block in BLOCKS}
        best = max(speeds, key=lambda block: speeds[block])
        self._block = best if must or speeds[best] * plain_s > GAIN else 0
        if not self._block:  # texts change: what did badly is tried again some time
            for seq in able:
                if seq.drafting:
                    seq.drafting.expected += (FIRST_ACCEPTANCE - seq.drafting.expected) / 10
        return self._block

    def _slowest(self, layout: Layout, able: Collection[Sequence], block: int) -> float:
        """Tokens per second of the sequence that gains least by rounds of `block` drafts."""
        stepping = self.forwards.partners({seq.drafting.role for seq in able if seq.drafting})
        tokens = {}
        for seq in layout.seqs:
            if seq in able and seq.drafting:
                tokens[seq] = sum(seq.drafting.expected**i for i in range(block))
            else:
                tokens[seq] = block if stepping.issuperset(seq.roles) else 1
        positions = sum(block if seq in able or n > 1 else 1 for seq, n in tokens.items())
        fed = self._fed(layout, able, stepping)
        seconds = self._seconds(self.forwards.costs.least, layout, fed, block, positions)
        return min(tokens.values()) / seconds if seconds else 0.0

    def _fed(
        self, layout: Layout, able: Collection[Sequence], stepping: Collection[str]
    ) -> dict[object, tuple[int, bool]]:
        """How many sequences each unit of models is fed in a round, and whether token by token."""
        fed: dict[object, tuple[int, bool]] = {}
        for seq in layout.seqs:
            roles = {*seq.roles, seq.drafting.role} if seq in able and seq.drafting else {*seq.roles}
            for role in roles:
                unit = self.forwards.unit_of(role)
                fed[unit] = (fed.get(unit, (0, False))[0] + 1, role in stepping)
        return fed

    def _seconds(
        self,
        of: Cost,
        layout: Layout,
        fed: Mapping[object, tuple[int, bool]],
        block: int = 1,
        positions: int = 0,
    ) -> float | None:
        """What a round takes, or with no `positions` a plain step; None where a part was never measured."""
        seqs = len(layout.seqs)
        plain_s = of(PLAIN, seqs)
        if positions and plain_s is not None:
            parts: list[float | None] = [of(ROUND, positions) or plain_s * positions / seqs]
        else:
            parts = [plain_s]
        for unit, (fed_rows, steps) in fed.items():
            once_s = of(unit, fed_rows if steps else fed_rows * block)
            parts.append(None if once_s is None else once_s * (block if steps else 1))
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None
