"""Tokens that are given and not drawn: read like a prompt, many at once, and accounted for like any others.

One forward per model and chunk tells what every column thinks of a finished text, or of the part of it that a
branch keeps. In float32 a branch with the same controls and seed goes on as the original did, however it was
read. In bfloat16 tokens read at once are rounded otherwise than one by one, and of two that are about level
the other may be drawn, if seldom. So it is with drafts, of which the machine's load decides. Knows sequences,
slots and models; knows no queue and no steps.
"""

from collections import abc
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eft_demo.engine.attribution import Drawn, attribute, mix_rows
from eft_demo.engine.batch import Feed, arrange
from eft_demo.engine.forward import Forwards
from eft_demo.engine.run import RunRequest
from eft_demo.engine.sequence import Prefill, Sequence
from eft_demo.errors import InputError
from eft_demo.models.protocol import Slot
from eft_demo.runs.trace import TokenRecord
from eft_demo.settings import show_value

CHUNK = 16  # tokens at once: with a vocabulary of 150,000 and three columns the numbers fill some 100 MB


def check_given(request: RunRequest, vocab: int) -> None:
    """Raises InputError if a given token is none, or if there are more of them than the run may have."""
    for token in request.forced:
        if type(token) is not int or not 0 <= token < vocab:
            raise InputError(
                f"A given token must be a number from 0 to {vocab - 1}; got {show_value(token)}."
            )
    if len(request.forced) > request.length:
        raise InputError(
            f"{len(request.forced):,} tokens are given and the length is {request.length:,}. "
            "Please choose a greater length, or branch earlier."
        )


def given_now(seqs: abc.Sequence[Sequence]) -> tuple[int, ...]:
    """The next tokens that these sequences of one run are given; empty once they draw their own."""
    start = seqs[0].position
    room = min(seq.max_new_tokens - seq.position for seq in seqs)  # one of them may end before the others
    return seqs[0].run.request.forced[start : start + min(CHUNK, room)]


def read_given(
    forwards: Forwards, prefills: abc.Sequence[Prefill], given: abc.Sequence[int]
) -> dict[str, Tensor]:
    """Log-probs (given, vocab) per role at the places of the given tokens; empty if nobody waits for them.

    The slots of the prefills grow by as many, and what their models have seen joins the prefills' tokens, so
    that another sequence can take the first one's place. Raises ModelFailure.
    """
    feeds = [Feed(p.role, tuple(p.seqs), (p.slot,)) for p in prefills]
    blocks = [torch.tensor([[p.seqs[0].last(p.role), *given[:-1]]]) for p in prefills]
    found = forwards.run(feeds, blocks, keep=len(given)) or []
    for prefill in prefills if found else ():
        prefill.tokens += (prefill.seqs[0].last(prefill.role), *given[:-1])
    return {feed.role: logprobs[0] for feed, logprobs in zip(feeds, found, strict=False)}


def attribute_given(
    seqs: abc.Sequence[Sequence], given: abc.Sequence[int], logprobs: Mapping[str, Tensor], count: int
) -> list[tuple[Sequence, TokenRecord]]:
    """(sequence, record) for each given token and sequence, token by token. Raises ModelFailure.

    All sequences belong to one run and stand at the same position; `logprobs` has (given, vocab) per role.
    """
    start = seqs[0].position
    # A sequence per token and column: attributing one step and attributing many tokens are the same thing.
    shadows = [_shadow(seq, i) for i in range(len(given)) for seq in seqs]
    layout = arrange(shadows)
    stack = torch.cat(
        [logprobs[feed.role][[seq.position - start for seq in feed.seqs]] for feed in layout.feeds]
    )
    controls = [seq.run.controls_at(seq.position) for seq in layout.seqs]
    ids = torch.tensor([given[seq.position - start] for seq in layout.seqs])
    positions = [seq.position for seq in layout.seqs]
    records = attribute([Drawn(layout, ids, positions, controls, mix_rows(layout, stack, controls))], count)
    by_column = {seq.column: seq for seq in seqs}
    found = [(by_column[shadow.column], record) for shadow, record in zip(layout.seqs, records, strict=True)]
    return sorted(found, key=lambda pair: (pair[1].position, pair[0].column))


def _shadow(seq: Sequence, ahead: int) -> Sequence:
    return replace(seq, position=seq.position + ahead, slots={role: Slot(ahead) for role in seq.roles})
