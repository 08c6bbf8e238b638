"""Chooses the draft length that maximises the slowest sequence's throughput, from measured costs.

A round with k drafts costs k forwards of the models that step, one forward over k positions of the others,
and the attribution of all positions. A sequence that drafts gains 1 + a + ... + a^(k-1) tokens, where a is
its acceptance rate. One that decodes token by token beside it gains k, one that waits gains 1. If no k pays
off, nothing is drafted. Knows costs, sequences and their drafts; does not know how a round runs.
"""

from collections.abc import Callable, Collection, Mapping

from eft_demo.engine.batch import Layout
from eft_demo.engine.forward import Forwards
from eft_demo.engine.sequence import Drafting, Sequence
from eft_demo.engine.speculate import drafter_of
from eft_demo.method.speculation import MAX_BLOCK

BLOCKS = (2, 3, 4, 6, MAX_BLOCK)
FIRST_BLOCK = 4  # used when a block must be chosen before anything was measured
FIRST_ACCEPTANCE = 0.7  # assumed until it is measured
GAIN = 1.1  # the speedup drafts must promise: estimates err, and a bad round is slower than plain steps
RETHINK_AFTER = 8  # steps
# The cost of a new combination of sequences and block length is only estimated. Its second round measures it;
# the first has to prepare things.
RETHINK_A_GUESS_AFTER = 2  # steps
Cost = Callable[[object, int], float | None]  # kind, tokens -> seconds
PLAIN, ROUND = "a plain step without its forwards", "a round without its forwards"


class DraftPlanner:
    """Chooses the draft length at every step; remembers acceptance rates by anchor and drafter."""

    def __init__(self, forwards: Forwards) -> None:
        self.forwards = forwards
        self._acceptance: dict[tuple[str, str], float] = {}
        self._layout: Layout | None = None
        self._block = 0
        self._steps = 0
        self._tried: set[tuple[int, int]] = set()  # (rows, block)

    def drafting_for(self, seq: Sequence) -> Drafting | None:
        """The drafter for a new sequence, or None if nothing may be drafted for it."""
        request = seq.run.request
        if request.spec.speculation.mode == "off":
            return None
        if request.spec.speculation.mode == "auto" and request.pace:
            return None  # nothing is gained by being faster than a person reads
        prompts = seq.prompts
        role = drafter_of(seq.recipe, [role for role in self.forwards.models if prompts.get(role)])
        if role is None:
            return None
        expected = self._acceptance.get((seq.recipe.anchor, role), FIRST_ACCEPTANCE)
        return Drafting(role, expected, self.forwards.clock)

    def blocks(self, layout: Layout) -> dict[Sequence, int]:
        """How many tokens to draft for which sequence in the next step; empty for a plain step."""
        able = [seq for seq in layout.seqs if self._may_draft(seq)]
        if not able:
            return {}
        asked = {seq: seq.run.request.spec.speculation for seq in able}
        given = max(speculation.block for speculation in asked.values())
        must = any(speculation.mode == "on" and not speculation.block for speculation in asked.values())
        # If some sequences have a fixed block, the others draft too: they have to wait for that round anyway.
        block = given if given and not must else self._chosen(layout, able, must)
        return self._fitting(layout, {seq: asked[seq].block or block for seq in able})

    def _may_draft(self, seq: Sequence) -> bool:
        if not seq.drafting or not seq.drafting.trusted or not seq.position:
            return False  # the first token arrives sooner without a round
        spec, controls = seq.run.request.spec, seq.run.controls
        if spec.speculation.mode == "on":
            return True
        # At alpha 0 two columns must be equal bit for bit, so neither drafts: the same text read in different
        # blocks is rounded differently.
        recipes = [recipe for _, recipe in spec.columns]
        plain = {recipe.anchor for recipe in recipes if not recipe.terms}
        return all(any(r.coefficients(controls)) for r in recipes if r.terms and r.anchor in plain)

    def begin_round(self, layout: Layout, blocks: Collection[Sequence]) -> None:
        """Record in each sequence that drafts how long a plain step would take."""
        fed = self._fed(layout, (), ())
        plain_s = self._seconds(self.forwards.costs.usual, layout, fed)
        for seq in blocks:
            if seq.drafting:
                seq.drafting.begin_round(seq.position, plain_s or 0.0)

    def clock_s(self) -> float:
        """The time excluding forwards."""
        return self.forwards.clock() - self.forwards.spent_s

    def record_cost(self, kind: str, tokens: int, seconds: float) -> None:
        """Record how long a step of this kind, attributing `tokens` tokens, took by `clock_s`."""
        self.forwards.costs.add(kind, tokens, seconds)

    def remember_acceptance(self, seqs: Collection[Sequence]) -> None:
        """Remember these sequences' acceptance rates for later sequences."""
        for seq in seqs:
            if seq.drafting:
                self._acceptance[seq.recipe.anchor, seq.drafting.role] = seq.drafting.expected

    def _fitting(self, layout: Layout, wanted: Mapping[Sequence, int]) -> dict[Sequence, int]:
        """Blocks limited by the tokens each text may still get and by the context of every model involved."""
        models = self.forwards.models
        room = min(models[r].context - seq.slots[r].length for seq in layout.seqs for r in seq.roles)
        fitting = {}
        for seq, block in wanted.items():
            assert seq.drafting is not None
            role = seq.drafting.role
            own = models[role].context - len(seq.prompts[role]) - seq.position + 1
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
        if not self._block:  # texts change, so drafts that did badly are tried again eventually
            for seq in able:
                if seq.drafting:
                    seq.drafting.expected += (FIRST_ACCEPTANCE - seq.drafting.expected) / 10
        return self._block

    def _slowest(self, layout: Layout, able: Collection[Sequence], block: int) -> float:
        """Tokens per second of the slowest sequence, in rounds of `block` drafts."""
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
        """How many sequences each model, or group of models, reads in a round, and whether token by token."""
        fed: dict[object, tuple[int, bool]] = {}
        for seq in layout.seqs:
            roles = {*seq.roles, seq.drafting.role} if seq in able and seq.drafting else {*seq.roles}
            for role in roles:
                unit = self.forwards.group_of(role)
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
        """Seconds a round takes, or a plain step if `positions` is 0; None if a part was never measured."""
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
