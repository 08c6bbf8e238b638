"""Forced tokens: read in chunks like a prompt, and attributed like sampled ones.

One forward per model and chunk scores a finished text, or the part of it that a branch keeps, for every
column. In float32 a branch with the same controls and seed continues as the original did. In bfloat16, tokens
read in chunks are rounded differently from tokens read one by one, so a near-tie may occasionally be resolved
the other way. The same holds for drafts, whose use depends on the machine's load. A run may also ask what
other controls would have drawn in place of its forced tokens. Knows sequences, slots and models; knows
nothing about the queue and steps.
"""

from collections import abc
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eft_demo.engine.attribution import StepLogprobs, attribute, stack_rows
from eft_demo.engine.batch import Feed, Layout, make_layout
from eft_demo.engine.certify import learn_given
from eft_demo.engine.forward import Forwards, by_feed
from eft_demo.engine.run import RunRequest
from eft_demo.engine.sequence import Prefill, Sequence
from eft_demo.errors import InputError
from eft_demo.method.counterfactual import choices_at
from eft_demo.models.protocol import Slot
from eft_demo.runs.trace import TokenRecord
from eft_demo.settings import show_value

Scores = Mapping[tuple[str, int], Tensor]  # role and column -> (given, vocab)
CHUNK = 16  # tokens at once: 150,000 vocabulary entries and three columns take about 100 MB


def check_forced(request: RunRequest, vocab: int) -> None:
    """Raises InputError if a forced token is not in the vocabulary, or if there are too many for the run."""
    for token in request.forced:
        if type(token) is not int or not 0 <= token < vocab:
            raise InputError(
                f"A forced token must be a number from 0 to {vocab - 1}; got {show_value(token)}."
            )
    if len(request.forced) > request.length:
        raise InputError(
            f"{len(request.forced):,} tokens are kept or scored, but the length limit is {request.length:,}. "
            "Please choose a greater length, or branch earlier."
        )


def next_forced(seqs: abc.Sequence[Sequence]) -> tuple[int, ...]:
    """The next chunk of forced tokens for these sequences of one run; empty when none are left."""
    start = seqs[0].position
    room = min(seq.max_new_tokens - seq.position for seq in seqs)  # one may end before the others
    return seqs[0].run.request.forced[start : start + min(CHUNK, room)]


def read_forced(forwards: Forwards, prefills: abc.Sequence[Prefill], given: abc.Sequence[int]) -> Scores:
    """Log-probs (given, vocab) per role and column at the positions of the forced tokens.

    Empty if the run is cancelled. The slots of the prefills grow by the same number. The tokens read are
    appended to the prefills' tokens, so that another sequence can take over if the first one ends. Raises
    ModelFailure.
    """
    scores: dict[tuple[str, int], Tensor] = {}
    for mine in _one_per_role(prefills):
        feeds = [Feed(p.role, tuple(p.seqs), (p.slot,)) for p in mine]
        blocks = [torch.tensor([[p.seqs[0].next_input(p.role), *given[:-1]]]) for p in mine]
        found = forwards.run(feeds, blocks, keep=len(given))
        if found is None:
            return {}
        for prefill, logprobs in zip(mine, by_feed(feeds, found), strict=True):
            scores |= {(prefill.role, seq.column): logprobs[0] for seq in prefill.seqs}
    for prefill in prefills:
        prefill.tokens += (prefill.seqs[0].next_input(prefill.role), *given[:-1])
    return scores


def _one_per_role(prefills: abc.Sequence[Prefill]) -> list[list[Prefill]]:
    """The prefills in groups that share a forward; a role has several if its columns' prompts differ."""
    groups: list[list[Prefill]] = []
    for prefill in prefills:
        group = next((g for g in groups if prefill.role not in [p.role for p in g]), None)
        if group is None:
            groups.append(group := [])
        group.append(prefill)
    return groups


def attribute_forced(
    forwards: Forwards, seqs: abc.Sequence[Sequence], given: abc.Sequence[int], scores: Scores, count: int
) -> list[tuple[Sequence, TokenRecord]]:
    """(sequence, record) for each forced token and sequence, ordered by token. Raises ModelFailure.

    All sequences belong to one run and are at the same position. What it asks of its `what_if` is written to
    its `choices`.
    """
    start = seqs[0].position
    # One sequence per token and column, so that many tokens are attributed as if they were one step.
    shadows = [_shadow(seq, given[:i]) for i in range(len(given)) for seq in seqs]
    layout = make_layout(shadows)
    stack = stack_rows(
        layout,
        [scores[feed.role, seq.column][seq.position - start] for feed in layout.feeds for seq in feed.seqs],
    )
    controls = [seq.run.controls_at(seq.position) for seq in layout.seqs]
    ids = torch.tensor([given[seq.position - start] for seq in layout.seqs])
    read = learn_given(layout, ids, stack, controls, forwards)
    records = attribute([read], count)
    _note_choices(layout, read.mixed)
    by_column = {seq.column: seq for seq in seqs}
    found = [(by_column[shadow.column], record) for shadow, record in zip(layout.seqs, records, strict=True)]
    return sorted(found, key=lambda pair: (pair[1].position, pair[0].column))


def _shadow(seq: Sequence, read: abc.Sequence[int]) -> Sequence:
    """A stand-in for `seq` after these tokens; its slots only order the feeds."""
    return replace(
        seq,
        position=seq.position + len(read),
        tokens=[*seq.tokens, *read],
        slots={role: Slot(len(read)) for role in seq.roles},
    )


def _note_choices(layout: Layout, mixed: StepLogprobs) -> None:
    """Note what other controls would have drawn in place of the layout's tokens, if the run asks for it."""
    seqs = layout.seqs[layout.plain :]
    if mixed.mixture is None or not seqs[0].run.request.what_if:
        return
    run, terms = seqs[0].run, mixed.mixture.deltas.shape[1]
    weights = [
        [
            [*(own := seq.recipe.coefficients(values)), *[0.0] * (terms - len(own))]
            for values in run.request.what_if[seq.position]
        ]
        for seq in seqs
    ]
    ids = choices_at(
        mixed.mixture.anchor,
        mixed.mixture.deltas,
        torch.tensor(weights),
        layout.filters,
        layout.samplings[layout.plain :],
        [seq.position for seq in seqs],
    )
    for seq, drawn in zip(seqs, ids.tolist(), strict=True):
        run.choices[seq.column, seq.position] = tuple(drawn)
