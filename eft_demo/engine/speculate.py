"""Speculation: a small model drafts the next tokens of a row, the row's models verify them in one forward.

One round, with the noise of the positions i = 1 .. block that come next:

    draft    d_i = argmax(warped log-probs of the small model + noise_i)     one small forward per token
    verify   t_i = argmax(warped mix + noise_i), given d_1 .. d_(i-1)        one forward of each other model
    accept   t_1, t_2, ... up to and with the first t_i that is not d_i

Every token that comes out is the mix's own, drawn with its own noise after a text that was accepted: it is
the token that a plain step would have drawn, whatever was drafted. So a seed gives one text with and without
drafts, under every warper (drafter-invariant speculation, Daliri, Musco and Suresh, arXiv 2408.07978; up to
float ties). Drafts that were not accepted are rolled back by a row's length.

Knows rows, feeds and the attribution; does not know when drafting pays (see pace.py).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eft_demo.engine.attribution import attribute, draw, mix_rows
from eft_demo.engine.batch import Feed, Layout, arrange, dense
from eft_demo.engine.failures import ModelFailure
from eft_demo.engine.forward import Forwards
from eft_demo.engine.sequence import Row
from eft_demo.errors import OutOfMemory
from eft_demo.method.recipe import Recipe
from eft_demo.method.roles import SMALL_BASE, is_large
from eft_demo.method.sampling import overlap, sample
from eft_demo.models.protocol import Slot
from eft_demo.runs.trace import Draft, TokenRecord

CATCH_UP = 128  # tokens at once that a drafter reads which was not needed for a while

Seen = dict[tuple[str, Row, int], Tensor]  # (role, row, how far ahead) -> log-probs (vocab,)


@dataclass(frozen=True, slots=True)
class Round:
    """Who does what in a round; the same for many rounds, while rows and blocks stay."""

    layout: Layout
    blocks: Mapping[Row, int]  # how many tokens are drafted for each row that drafts
    block: int  # the most of them: the length of the verifying forward
    stepping: frozenset[str]  # models that draft, or run in one forward with one that does: token by token
    steppers: tuple[Row, ...]  # rows that need no other models: they draw a token of their own at every step
    waiting: tuple[Row, ...]  # the rest: a token in the verifying forward
    verify: Layout  # of shadows: a row per position to be verified
    origins: Mapping[Row, tuple[Row, int]]  # shadow -> its row, and how far ahead it stands

    @property
    def positions(self) -> int:
        """How many tokens the round attributes."""
        return len(self.origins) + len(self.steppers) * self.block


def drafter_of(recipe: Recipe, roles: Collection[str]) -> str | None:
    """The model of `roles` that drafts for a recipe: its first small one, tuned before base, or else the
    small base. None where no large model takes part: there would be nothing to save.
    """
    if not any(is_large(role) for role in recipe.roles):
        return None
    by_use = [*(term.plus for term in recipe.terms), recipe.anchor, *(term.minus for term in recipe.terms)]
    small = [role for role in by_use if not is_large(role)]
    return next((role for role in [*small, SMALL_BASE] if role in roles), None)


def who_drafted(recipe: Recipe) -> str | None:
    """The model that drafted for a recipe wherever a token of it was drafted: a trace need not tell."""
    return drafter_of(recipe, [*recipe.roles, SMALL_BASE])


def plan_round(layout: Layout, blocks: Mapping[Row, int], forwards: Forwards) -> Round:
    """A round for the rows of `layout` in which `blocks[row]` tokens are drafted for some of them."""
    stepping = forwards.partners({row.drafting.role for row in blocks if row.drafting})
    others = [row for row in layout.rows if row not in blocks]
    steppers = tuple(row for row in others if stepping.issuperset(row.roles))
    waiting = tuple(row for row in others if row not in steppers)
    ahead = [(row, i) for row, block in blocks.items() for i in range(block)] + [(row, 0) for row in waiting]
    origins = {_shadow(row, place): (row, i) for place, (row, i) in enumerate(ahead)}
    return Round(
        layout,
        blocks,
        max(blocks.values()),
        stepping,
        steppers,
        waiting,
        arrange(list(origins)),
        origins,
    )


def open_drafters(plan: Round, forwards: Forwards) -> None:
    """Let every drafter have read its row's text but for the last token. Raises ModelFailure."""
    for row in plan.blocks:
        role = _drafter(row)
        prompt = row.run.request.prompts[role]
        if role not in row.slots:
            try:
                slot = row.slots[role] = forwards.models[role].join()
            except OutOfMemory as error:
                raise ModelFailure([role], [row], error) from error
            mates = (other for other in plan.layout.rows if other.run is row.run and role in other.roles)
            if mate := next(mates, None):  # it has read the same prompt
                forwards.models[role].copy_prefix(mate.slots[role], slot)
                slot.length = min(slot.length, len(prompt) - 1)
        slot = row.slots[role]
        while slot.length < len(prompt) + row.position - 1:
            unread = [*prompt, *row.tokens][slot.length : -1][:CATCH_UP]
            if forwards.run([Feed(role, (row,), (slot,))], [torch.tensor([unread])]) is None:
                return


def play_round(plan: Round, forwards: Forwards, count: int) -> Iterator[tuple[Row, TokenRecord]]:
    """Play one round: (row, record) as tokens become certain, with `count` candidates of the mix in each.

    Whoever iterates emits each token before the next is asked for, may end rows meanwhile, and rolls all rows
    back to their text afterwards. Ends early if nobody waits any more. Raises ModelFailure.
    """
    seen: Seen = {}
    drafts: dict[Row, list[int]] = {row: [] for row in plan.blocks}
    steppers = plan.steppers
    for step in range(plan.block):
        feeds = _step_feeds(plan, steppers, step)
        inputs = [torch.tensor([_input(row, feed.role, drafts) for row in feed.rows]) for feed in feeds]
        found = forwards.run(feeds, [tokens.unsqueeze(1) for tokens in inputs])
        if found is None:
            return
        for feed, logprobs in zip(feeds, found, strict=True):
            _see(seen, feed, step, logprobs)
        draft(plan, seen, drafts, step)
        if steppers:
            origins = {row: (row, step) for row in steppers}
            records, _ = _tell(arrange(list(steppers)), origins, seen, count)
            yield from records.items()
            steppers = tuple(row for row in steppers if row.slots)
    if not verify(plan, seen, drafts, forwards):
        return
    for shadow, (row, ahead) in plan.origins.items():
        shadow.position = row.position + ahead
    yield from accept(plan, seen, drafts, count)


def draft(plan: Round, seen: Seen, drafts: Mapping[Row, list[int]], step: int) -> None:
    """Draw the draft at `step` of every row that drafts so far, from its drafter, with its own noise."""
    rows = [row for row, block in plan.blocks.items() if step < block]
    logprobs = torch.stack([seen[_drafter(row), row, step] for row in rows])
    samplings = [row.run.request.spec.sampling for row in rows]
    ids = sample(logprobs, samplings, [row.position + step for row in rows]).tolist()
    for row, token in zip(rows, ids, strict=True):
        drafts[row].append(token)


def verify(plan: Round, seen: Seen, drafts: Mapping[Row, list[int]], forwards: Forwards) -> bool:
    """Let the other models read each row's last token and drafts at once. False if nobody waits any more."""
    readers = [row for row in (*plan.blocks, *plan.waiting) if row.slots]
    roles = dict.fromkeys(role for row in readers for role in row.roles if role not in plan.stepping)
    feeds = [dense(role, [row for row in readers if role in row.roles]) for role in roles]
    blocks = []
    for feed in feeds:
        texts = [[row.last(feed.role), *drafts.get(row, ())][: plan.block] for row in feed.rows]
        # A row with fewer drafts is filled up: what it reads there is rolled back unseen.
        blocks.append(torch.tensor([[*text, *[0] * (plan.block - len(text))] for text in texts]))
    found = forwards.run(feeds, blocks, plan.block)
    for feed, logprobs in zip(feeds, found or (), strict=False):
        _see(seen, feed, 0, logprobs)
    return found is not None


def accept(
    plan: Round, seen: Seen, drafts: Mapping[Row, list[int]], count: int
) -> Iterator[tuple[Row, TokenRecord]]:
    """Draw the mix's own token at every position; give out those before which all was drafted right."""
    records, final = _tell(plan.verify, plan.origins, seen, count)
    found = {plan.origins[shadow]: record for shadow, record in records.items()}
    for row in plan.waiting:
        if row.slots:
            yield row, found[row, 0]
    for row, ids in drafts.items():
        hits = [found[row, i].id == token for i, token in enumerate(ids)]
        kept = next((i + 1 for i, hit in enumerate(hits) if not hit), len(hits))
        drafted_from = torch.stack([seen[_drafter(row), row, i] for i in range(kept)])
        target = torch.stack([final[row, i] for i in range(kept)])
        overlaps = overlap(target, drafted_from, [row.run.request.spec.sampling] * kept).tolist()
        for i in range(kept):
            if not row.slots:  # a stop token ended it
                break
            if row.drafting:
                row.drafting.note(hits[i])
            yield row, replace(found[row, i], draft=Draft(ids[i], overlaps[i]))


def _see(seen: Seen, feed: Feed, ahead: int, logprobs: Tensor) -> None:
    """Keep log-probs (rows, positions, vocab) of the rows of a feed, the first of them so far ahead."""
    for row, positions in zip(feed.rows, logprobs, strict=True):
        for i, at_one in enumerate(positions.unbind()):
            seen[feed.role, row, ahead + i] = at_one


def _step_feeds(plan: Round, steppers: Sequence[Row], step: int) -> list[Feed]:
    """Who takes part in a step: rows that draft so far, steppers, and at first the waiting rows."""
    drafting = [row for row, block in plan.blocks.items() if step < block]
    feeds = []
    for role in plan.stepping:
        rows = [row for row in drafting if role in row.roles or role == _drafter(row)]
        rows += [row for row in (*steppers, *(plan.waiting if step == 0 else ())) if role in row.roles]
        if rows:
            feeds.append(dense(role, rows))
    return feeds


def _input(row: Row, role: str, drafts: Mapping[Row, list[int]]) -> int:
    ids = drafts.get(row)
    return ids[-1] if ids else row.last(role)


def _drafter(row: Row) -> str:
    assert row.drafting is not None
    return row.drafting.role


def _tell(
    layout: Layout, origins: Mapping[Row, tuple[Row, int]], seen: Seen, count: int
) -> tuple[dict[Row, TokenRecord], dict[tuple[Row, int], Tensor]]:
    """Draw and attribute a token per row of `layout`, each of which stands for a row so far ahead.

    The second are the final log-probs (vocab,) it was drawn from.
    """
    stack = torch.stack([seen[feed.role, *origins[row]] for feed in layout.feeds for row in feed.rows])
    controls = [row.run.controls_at(row.position) for row in layout.rows]
    try:
        mixed = mix_rows(layout, stack, controls)
    except ModelFailure as failure:
        failure.rows = tuple(origins[row][0] for row in failure.rows)
        raise
    records = attribute([draw(layout, mixed, controls)], count)
    final = {origins[row]: logprobs for row, logprobs in zip(layout.rows, mixed.final, strict=True)}
    return dict(zip(layout.rows, records, strict=True)), final


def _shadow(row: Row, place: int) -> Row:
    """A row that stands for `row` at a position still to come; slots only give feeds an order."""
    return replace(row, slots={role: Slot(place) for role in row.roles})
