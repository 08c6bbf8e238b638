"""Speculative decoding: a small model drafts the next tokens, the others verify them in one forward.

One round, with the noise of the next positions i = 1 .. block:

    draft    d_i = argmax(warped log-probs of the small model + noise_i)     one small forward per token
    verify   t_i = argmax(warped mix + noise_i), given d_1 .. d_(i-1)        one forward of each other model
    accept   t_1, t_2, ... up to and including the first t_i that differs from d_i

Every accepted token is sampled from the mix, with its own noise, after accepted text: exactly the token that
a plain step would have sampled, whatever was drafted. So a seed gives the same text with and without drafts,
under every warper (drafter-invariant speculation, Daliri, Musco and Suresh, arXiv 2408.07978; up to float
ties). Rejected drafts are rolled back by shortening the sequence.

Knows sequences, feeds and attribution; does not know when drafting pays off (see draft_length.py).
"""

from collections import abc
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eft_demo.engine.attribution import attribute, stack_rows
from eft_demo.engine.batch import Feed, Layout, make_feed, make_layout
from eft_demo.engine.certify import draw_tokens
from eft_demo.engine.failures import ModelFailure
from eft_demo.engine.forward import Forwards, by_feed
from eft_demo.engine.sequence import Sequence
from eft_demo.errors import OutOfMemory
from eft_demo.method.recipe import Recipe
from eft_demo.method.roles import SMALL_BASE, is_large
from eft_demo.method.sampling import overlap, sample
from eft_demo.models.protocol import Slot
from eft_demo.runs.trace import Draft, TokenRecord

CATCH_UP = 128  # tokens per forward when a drafter has to catch up with a text

Seen = dict[tuple[str, Sequence, int], Tensor]  # (role, sequence, how far ahead) -> log-probs (vocab,)


@dataclass(frozen=True, slots=True)
class Round:
    """What each model and sequence does in a round; reused while sequences and blocks stay the same."""

    layout: Layout
    blocks: Mapping[Sequence, int]  # how many tokens are drafted for each sequence that drafts
    block: int  # the largest of these: the length of the verifying forward
    stepping: frozenset[str]  # models that go token by token: drafters, and those sharing their forward
    steppers: tuple[Sequence, ...]  # need no other models, so they get a token at every step
    waiting: tuple[Sequence, ...]  # the rest: one token each, from the verifying forward
    verify: Layout  # of shadows: one sequence per position to verify
    origins: Mapping[Sequence, tuple[Sequence, int]]  # shadow -> its sequence, and how far ahead it is

    @property
    def positions(self) -> int:
        """How many tokens the round attributes."""
        return len(self.origins) + len(self.steppers) * self.block


def drafter_of(recipe: Recipe, roles: Collection[str]) -> str | None:
    """The model of `roles` that drafts for a recipe: its first small one, or else the small base.

    Among the recipe's models the terms' plus models come first, so a tuned one is preferred. None if the
    recipe has no large model, because drafting would save nothing.
    """
    if not any(is_large(role) for role in recipe.roles):
        return None
    by_use = [*(term.plus for term in recipe.terms), recipe.anchor, *(term.minus for term in recipe.terms)]
    small = [role for role in by_use if not is_large(role)]
    return next((role for role in [*small, SMALL_BASE] if role in roles), None)


def default_drafter(recipe: Recipe) -> str | None:
    """The model that drafted for a recipe, if any did: it follows from the recipe, so traces omit it."""
    return drafter_of(recipe, [*recipe.roles, SMALL_BASE])


def plan_round(layout: Layout, blocks: Mapping[Sequence, int], forwards: Forwards) -> Round:
    """Plan a round for the sequences of `layout`; `blocks[seq]` tokens are drafted for those it names."""
    stepping = forwards.partners({seq.drafting.role for seq in blocks if seq.drafting})
    others = [seq for seq in layout.seqs if seq not in blocks]
    steppers = tuple(seq for seq in others if stepping.issuperset(seq.roles))
    waiting = tuple(seq for seq in others if seq not in steppers)
    ahead = [(seq, i) for seq, block in blocks.items() for i in range(block)] + [(seq, 0) for seq in waiting]
    origins = {_shadow(seq, place): (seq, i) for place, (seq, i) in enumerate(ahead)}
    return Round(
        layout,
        blocks,
        max(blocks.values()),
        stepping,
        steppers,
        waiting,
        make_layout(list(origins)),
        origins,
    )


def open_drafters(plan: Round, forwards: Forwards) -> None:
    """Let every drafter read its sequence's text except for the last token. Raises ModelFailure."""
    for seq in plan.blocks:
        role = _drafter(seq)
        prompt = seq.prompts[role]
        if role not in seq.slots:
            try:
                slot = seq.slots[role] = forwards.models[role].join()
            except OutOfMemory as error:
                raise ModelFailure([role], [seq], error) from error
            mates = (other for other in plan.layout.seqs if _reads_alike(seq, other, role))
            if mate := next(mates, None):  # it has read the same prompt
                forwards.models[role].copy_prefix(mate.slots[role], slot)
                slot.length = min(slot.length, len(prompt) - 1)
            else:
                forwards.prefixes.restore(seq.run.request.reader, role, prompt[:-1], slot)
        slot = seq.slots[role]
        while slot.length < len(prompt) + seq.position - 1:
            unread = [*prompt, *seq.tokens][slot.length : -1][:CATCH_UP]
            if forwards.run([Feed(role, (seq,), (slot,))], [torch.tensor([unread])]) is None:
                return


def run_round(plan: Round, forwards: Forwards, count: int) -> Iterator[tuple[Sequence, TokenRecord]]:
    """Run one round, yielding (sequence, record) once a token is certain, each with `count` candidates.

    The caller emits each token before asking for the next, may end sequences in between, and afterwards rolls
    all of them back to their text. Ends early if every run was cancelled. Raises ModelFailure.
    """
    seen: Seen = {}
    drafts: dict[Sequence, list[int]] = {seq: [] for seq in plan.blocks}
    steppers = plan.steppers
    for step in range(plan.block):
        feeds = _step_feeds(plan, steppers, step)
        inputs = [torch.tensor([_input(seq, feed.role, drafts) for seq in feed.seqs]) for feed in feeds]
        found = forwards.run(feeds, [tokens.unsqueeze(1) for tokens in inputs])
        if found is None:
            return
        for feed, logprobs in zip(feeds, by_feed(feeds, found), strict=True):
            _store_logprobs(seen, feed, step, logprobs)
        draft(plan, seen, drafts, step)
        if steppers:
            origins = {seq: (seq, step) for seq in steppers}
            records, _ = _draw_and_attribute(make_layout(list(steppers)), origins, seen, count, forwards)
            yield from records.items()
            steppers = tuple(seq for seq in steppers if seq.slots)
    if not verify(plan, seen, drafts, forwards):
        return
    for shadow, (seq, ahead) in plan.origins.items():
        shadow.position = seq.position + ahead
        shadow.tokens = [*seq.tokens, *drafts.get(seq, ())[:ahead]]
    yield from accept(plan, seen, drafts, count, forwards)


def draft(plan: Round, seen: Seen, drafts: Mapping[Sequence, list[int]], step: int) -> None:
    """Sample the draft at `step` from each sequence's drafter, with the sequence's own noise."""
    seqs = [seq for seq, block in plan.blocks.items() if step < block]
    logprobs = torch.stack([seen[_drafter(seq), seq, step] for seq in seqs])
    samplings = [seq.run.request.spec.sampling for seq in seqs]
    ids = sample(logprobs, samplings, [seq.position + step for seq in seqs]).tolist()
    for seq, token in zip(seqs, ids, strict=True):
        drafts[seq].append(token)


def verify(plan: Round, seen: Seen, drafts: Mapping[Sequence, list[int]], forwards: Forwards) -> bool:
    """Let the other models read each last token and its drafts in one forward. False if all are cancelled."""
    readers = [seq for seq in (*plan.blocks, *plan.waiting) if seq.slots]
    roles = dict.fromkeys(role for seq in readers for role in seq.roles if role not in plan.stepping)
    feeds = [make_feed(role, [seq for seq in readers if role in seq.roles]) for role in roles]
    blocks = []
    for feed in feeds:
        texts = [[seq.next_input(feed.role), *drafts.get(seq, ())][: plan.block] for seq in feed.seqs]
        # Sequences with fewer drafts are padded; the padding is rolled back unread.
        blocks.append(torch.tensor([[*text, *[0] * (plan.block - len(text))] for text in texts]))
    found = forwards.run(feeds, blocks, plan.block)
    if found is None:
        return False
    for feed, logprobs in zip(feeds, by_feed(feeds, found), strict=True):
        _store_logprobs(seen, feed, 0, logprobs)
    return True


def accept(
    plan: Round, seen: Seen, drafts: Mapping[Sequence, list[int]], count: int, forwards: Forwards
) -> Iterator[tuple[Sequence, TokenRecord]]:
    """Sample the mix's token at every position; yield those up to and including the first wrong draft."""
    records, final = _draw_and_attribute(plan.verify, plan.origins, seen, count, forwards)
    found = {plan.origins[shadow]: record for shadow, record in records.items()}
    for seq in plan.waiting:
        if seq.slots:
            yield seq, found[seq, 0]
    for seq, ids in drafts.items():
        hits = [found[seq, i].id == token for i, token in enumerate(ids)]
        kept = next((i + 1 for i, hit in enumerate(hits) if not hit), len(hits))
        drafted_from = torch.stack([seen[_drafter(seq), seq, i] for i in range(kept)])
        target = torch.stack([final[seq, i] for i in range(kept)])
        overlaps = overlap(target, drafted_from, [seq.run.request.spec.sampling] * kept).tolist()
        for i in range(kept):
            if not seq.slots:  # a stop token ended it
                break
            if seq.drafting:
                seq.drafting.record(hits[i])
            yield seq, replace(found[seq, i], draft=Draft(ids[i], overlaps[i]))


def _store_logprobs(seen: Seen, feed: Feed, ahead: int, logprobs: Tensor) -> None:
    """Store a feed's log-probs (rows, positions, vocab); `ahead` is how far ahead the first position is."""
    for seq, positions in zip(feed.seqs, logprobs, strict=True):
        for i, at_one in enumerate(positions.unbind()):
            seen[feed.role, seq, ahead + i] = at_one


def _step_feeds(plan: Round, steppers: abc.Sequence[Sequence], step: int) -> list[Feed]:
    """The feeds of a step: sequences still drafting, steppers, and in the first step the waiting ones."""
    drafting = [seq for seq, block in plan.blocks.items() if step < block]
    feeds = []
    for role in plan.stepping:
        seqs = [seq for seq in drafting if role in seq.roles or role == _drafter(seq)]
        seqs += [seq for seq in (*steppers, *(plan.waiting if step == 0 else ())) if role in seq.roles]
        if seqs:
            feeds.append(make_feed(role, seqs))
    return feeds


def _input(seq: Sequence, role: str, drafts: Mapping[Sequence, list[int]]) -> int:
    ids = drafts.get(seq)
    return ids[-1] if ids else seq.next_input(role)


def _reads_alike(seq: Sequence, other: Sequence, role: str) -> bool:
    """Whether the model of `role` reads the same prompt for the other sequence, which uses it."""
    return other.run is seq.run and role in other.roles and other.prompts[role] == seq.prompts[role]


def _drafter(seq: Sequence) -> str:
    assert seq.drafting is not None
    return seq.drafting.role


def _draw_and_attribute(
    layout: Layout,
    origins: Mapping[Sequence, tuple[Sequence, int]],
    seen: Seen,
    count: int,
    forwards: Forwards,
) -> tuple[dict[Sequence, TokenRecord], dict[tuple[Sequence, int], Tensor]]:
    """Sample and attribute one token per sequence of `layout`.

    `origins` maps each of them to the real sequence and how far ahead of it the token is. The second result
    holds the final log-probs (vocab,) that each token was sampled from, by those pairs.
    """
    rows = [seen[feed.role, *origins[seq]] for feed in layout.feeds for seq in feed.seqs]
    stack = stack_rows(layout, rows)
    controls = [seq.run.controls_at(seq.position) for seq in layout.seqs]
    try:
        drawn = draw_tokens(layout, stack, controls, forwards)
    except ModelFailure as failure:
        failure.seqs = tuple(origins[seq][0] for seq in failure.seqs)
        raise
    records = attribute([drawn], count)
    final = {origins[seq]: logprobs for seq, logprobs in zip(layout.seqs, drawn.mixed.final, strict=True)}
    return dict(zip(layout.seqs, records, strict=True)), final


def _shadow(seq: Sequence, place: int) -> Sequence:
    """A stand-in for `seq` at a later position; its slots only order the feeds."""
    return replace(seq, slots={role: Slot(place) for role in seq.roles})
