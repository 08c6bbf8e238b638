"""Tokens that are given and not drawn: read like a prompt, many at once, and accounted for like any others.

One forward per model and chunk tells what every column thinks of a finished text, or of the part of it that a
branch keeps. In float32 a branch with the same controls and seed goes on as the original did, however it was
read. In bfloat16 tokens read at once are rounded otherwise than one by one, and of two that are about level
the other may be drawn, if seldom. So it is with drafts, of which the machine's load decides. Knows rows,
slots and models; knows no queue and no steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from eft_demo.engine.attribution import Drawn, attribute, mix_rows
from eft_demo.engine.batch import Feed, arrange
from eft_demo.engine.forward import Forwards
from eft_demo.engine.run import RunRequest
from eft_demo.engine.sequence import Prefill, Row
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


def given_now(rows: Sequence[Row]) -> tuple[int, ...]:
    """The next tokens that these rows of one run are given; empty once they draw their own."""
    start = rows[0].position
    room = min(row.max_new_tokens - row.position for row in rows)  # one of them may end before the others
    return rows[0].run.request.forced[start : start + min(CHUNK, room)]


def read_given(forwards: Forwards, prefills: Sequence[Prefill], given: Sequence[int]) -> dict[str, Tensor]:
    """Log-probs (given, vocab) per role at the places of the given tokens; empty if nobody waits for them.

    The slots of the prefills grow by as many, and what their models have seen joins the prefills' tokens, so
    that another row can take the first one's place. Raises ModelFailure.
    """
    feeds = [Feed(p.role, tuple(p.rows), (p.slot,)) for p in prefills]
    blocks = [torch.tensor([[p.rows[0].last(p.role), *given[:-1]]]) for p in prefills]
    found = forwards.run(feeds, blocks, keep=len(given)) or []
    for prefill in prefills if found else ():
        prefill.tokens += (prefill.rows[0].last(prefill.role), *given[:-1])
    return {feed.role: logprobs[0] for feed, logprobs in zip(feeds, found, strict=False)}


def attribute_given(
    rows: Sequence[Row], given: Sequence[int], logprobs: Mapping[str, Tensor], count: int
) -> list[tuple[Row, TokenRecord]]:
    """(row, record) for each given token and row, token by token. Raises ModelFailure.

    All rows belong to one run and stand at the same position; `logprobs` has (given, vocab) per role.
    """
    start = rows[0].position
    # A row per token and column: the attribution of one step, and one of many tokens, are the same thing.
    shadows = [_shadow(row, i) for i in range(len(given)) for row in rows]
    layout = arrange(shadows)
    stack = torch.cat(
        [logprobs[feed.role][[row.position - start for row in feed.rows]] for feed in layout.feeds]
    )
    controls = [row.run.controls_at(row.position) for row in layout.rows]
    ids = torch.tensor([given[row.position - start] for row in layout.rows])
    positions = [row.position for row in layout.rows]
    records = attribute([Drawn(layout, ids, positions, controls, mix_rows(layout, stack, controls))], count)
    by_column = {row.column: row for row in rows}
    found = [(by_column[shadow.column], record) for shadow, record in zip(layout.rows, records, strict=True)]
    return sorted(found, key=lambda pair: (pair[1].position, pair[0].column))


def _shadow(row: Row, ahead: int) -> Row:
    return replace(row, position=row.position + ahead, slots={role: Slot(ahead) for role in row.roles})
