"""Draws tokens from rows of which a server sent only the likeliest log-probs, until each one is certain.

A draw proposes a token and the certificate (`method.certificate`) checks it. While hidden rivals are in
doubt, the server is asked for their log-probs, and the token is drawn again. What stays open is written on
the token. Layouts without such a model, nearly all, are drawn at once. Knows recipes and models, not HTTP.
"""

import math
from collections import abc
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eft_demo.engine.attribution import Controls, RowCut, SampledTokens, mix_rows, sample_tokens
from eft_demo.engine.batch import Layout
from eft_demo.engine.failures import ModelFailure
from eft_demo.engine.forward import Forwards
from eft_demo.errors import EFTError
from eft_demo.method.certificate import CutRow, check_draw, log_z_error_nats
from eft_demo.method.mixing import filter_floor, pool_control_tokens, term_delta, to_logprobs
from eft_demo.method.recipe import Recipe
from eft_demo.models.cut_row import fill, room_of
from eft_demo.models.protocol import SentRow
from eft_demo.runs.trace import Cut

# So many tokens of one row are asked for, round by round, until the token is certain. A second round is rare:
# it takes a flat row, whose hidden tokens decide which ones top-p keeps.
ROUNDS = (128, 512, 8192)  # in all, little more than the whole rows that are asked for elsewhere

Questions = dict[tuple[str, tuple[int, ...]], list[int]]  # role and text -> ids


@dataclass(frozen=True, slots=True)
class _Open:
    """A sequence of the layout of whose mix something is hidden."""

    index: int
    sent: dict[str, SentRow]  # by role, of those that act in the mix
    known: Tensor  # (vocab,) bool
    row: CutRow | None  # None: nothing bounds what is hidden, because the recipe subtracts it


def draw_tokens(layout: Layout, stack: Tensor, controls: Controls, forwards: Forwards) -> SampledTokens:
    """Mix the stack and sample the next token of each sequence, asking servers for what is in doubt.

    `stack` is (stack, vocab), as in `mix_rows`; what is asked for is written to it. Raises ModelFailure.
    """
    drawn = sample_tokens(layout, mix_rows(layout, stack, controls), controls)
    if not _cut_roles(layout, forwards):
        return drawn
    for most in (*ROUNDS, 0):
        opened = _open_rows(drawn, forwards)
        verdicts = [_check(one, drawn) for one in opened]
        questions: Questions = {}
        for one, (_, doubtful) in zip(opened, verdicts, strict=True):
            for role in one.sent:
                questions.setdefault((role, layout.seqs[one.index].text(role)), []).extend(doubtful[:most])
        if not most or not _ask(questions, layout, stack, forwards):
            break
        drawn = sample_tokens(layout, mix_rows(layout, stack, controls), controls)
    cuts = {one.index: _cut(one, certain) for one, (certain, _) in zip(opened, verdicts, strict=True)}
    return replace(drawn, cuts=cuts)


def learn_given(
    layout: Layout, ids: Tensor, stack: Tensor, controls: Controls, forwards: Forwards
) -> SampledTokens:
    """Mix the stack for tokens (rows,) that were given, asking servers for those that they did not send.

    Raises ModelFailure.
    """
    questions: Questions = {}
    cut = _cut_roles(layout, forwards)
    for seq, token in zip(layout.seqs, ids.tolist(), strict=True):
        for role in cut.intersection(seq.roles):
            questions.setdefault((role, seq.text(role)), []).append(token)
    _ask(questions, layout, stack, forwards)
    positions = [seq.position for seq in layout.seqs]
    given = SampledTokens(layout, ids, positions, controls, mix_rows(layout, stack, controls))
    return replace(given, cuts={one.index: _cut(one, True) for one in _open_rows(given, forwards)})


def _cut_roles(layout: Layout, forwards: Forwards) -> set[str]:
    """The roles in the layout whose servers cut their rows."""
    return {feed.role for feed in layout.feeds if feed.role in forwards.cut}


def _ask(questions: Questions, layout: Layout, stack: Tensor, forwards: Forwards) -> bool:
    """Ask for the log-probs of these tokens, and write them to the stack; whether any is new."""
    stops = forwards.control_tokens.stops
    learned: set[tuple[str, tuple[int, ...]]] = set()
    for role in dict.fromkeys(role for role, _ in questions):
        server = forwards.cut[role]
        # The stop tokens are pooled into the first one, which is known once all of them are.
        wanted = {
            text: [*ids, *stops] if set(stops[:1]) & set(ids) else ids
            for (asked, text), ids in questions.items()
            if asked == role and ids
        }
        before = {text: len(server.sent(text).ids) for text in wanted}
        try:
            server.ask(wanted)
        except EFTError as error:
            seqs = [seq for seq in layout.seqs if role in seq.roles]
            raise ModelFailure([role], seqs, error) from error
        learned |= {(role, text) for text, count in before.items() if len(server.sent(text).ids) > count}
    for i, seq in enumerate(layout.seqs) if learned else ():
        for role in seq.roles:
            if (role, text := seq.text(role)) in learned:
                logprobs, _ = fill(forwards.cut[role].sent(text), stack.shape[1])
                pooled = pool_control_tokens(logprobs.unsqueeze(0), forwards.control_tokens)
                stack[_place(layout, i, role)] = to_logprobs(pooled, role)[0].to(stack.device)
    return bool(learned)


def _open_rows(drawn: SampledTokens, forwards: Forwards) -> list[_Open]:
    """The sequences of whose mix something is hidden."""
    cut = _cut_roles(drawn.layout, forwards)
    found = (
        _open_row(drawn, i, [role for role in seq.roles if role in cut], forwards)
        for i, seq in enumerate(drawn.layout.seqs)
        if cut.intersection(seq.roles)
    )
    return [one for one in found if one is not None]


def _open_row(drawn: SampledTokens, i: int, cut: abc.Sequence[str], forwards: Forwards) -> _Open | None:
    """What is known of the mix of one sequence, with these cut roles. None if everything is."""
    layout, stack = drawn.layout, drawn.mixed.stack
    seq, recipe = layout.seqs[i], layout.seqs[i].recipe
    coefficients = recipe.coefficients(drawn.controls[i]) if recipe.terms else ()
    weights = {role: _weight_of(role, recipe, coefficients) for role in cut}
    sent = {role: forwards.cut[role].sent(seq.text(role)) for role in cut if weights[role] != 0}
    rows = {role: stack[_place(layout, i, role)].cpu() for role in seq.roles}
    known = torch.ones(stack.shape[1], dtype=torch.bool)
    ceilings = dict(rows)
    for role, row in sent.items():
        both = pool_control_tokens(torch.stack(fill(row, len(known))), forwards.control_tokens)
        was_sent = both[0] == both[1]
        # The stack's rows were normalised again, which changes them by rounding.
        ceilings[role] = torch.where(was_sent, rows[role], both[1])
        known &= was_sent
    if known.all():
        return None
    if any(math.isnan(weight) for weight in weights.values()):
        return _Open(i, sent, known, None)
    anchor = ceilings[recipe.anchor]
    highest = anchor.clone()
    for term, coefficient in zip(recipe.terms, coefficients, strict=True):
        plus, minus = ceilings[term.plus], rows[term.minus]
        highest += coefficient * term_delta(plus[None], minus[None], anchor[None])[0]
    mixed = drawn.mixed.final[i].cpu()
    if i >= layout.plain and (mixture := drawn.mixed.mixture):
        mixed = mixed + mixture.log_z[i - layout.plain].cpu()
        weight_filter = layout.filters[i - layout.plain]
        if weight_filter.is_active:  # a hidden token may be inside or outside what it leaves
            highest = torch.maximum(highest, anchor)
            if weight_filter.kind == "top_p" and (top := sent.get(recipe.anchor)):
                floor = float(filter_floor(rows[recipe.anchor][None], [weight_filter]))
                if floor < top.highest_hidden:  # so may tokens below hidden ones
                    known &= rows[recipe.anchor] >= top.highest_hidden
    only = next(iter(sent)) if len(sent) == 1 else None
    room, weight = (room_of(sent[only]), weights[only]) if only else (math.inf, 1.0)
    return _Open(i, sent, known, CutRow(mixed, highest, known, room, weight))


def _weight_of(role: str, recipe: Recipe, coefficients: abc.Sequence[float]) -> float:
    """The weight of a role in the mix; NaN if the mix falls where the role's log-prob rises."""
    total = float(recipe.anchor == role)
    for term, coefficient in zip(recipe.terms, coefficients, strict=True):
        if coefficient and (term.minus == role or (term.plus == role and coefficient < 0)):
            return math.nan
        total += coefficient * (term.plus == role)
    return total


def _check(one: _Open, drawn: SampledTokens) -> tuple[bool, tuple[int, ...]]:
    """Whether the drawn token is certain, and the tokens to ask for if it is not."""
    seq, token = drawn.layout.seqs[one.index], int(drawn.ids[one.index])
    if one.row is None:
        return False, () if one.known[token] else (token,)
    verdict = check_draw(one.row, drawn.layout.samplings[one.index], seq.position, token)
    return verdict.is_certain, verdict.doubtful


def _cut(one: _Open, is_certain: bool) -> RowCut:
    rows = one.sent.values()
    off_nats = log_z_error_nats(one.row) if one.row else None
    return RowCut(
        Cut(
            is_certain,
            sent=min(len(row.ids) - row.asked for row in rows),
            asked=sum(row.asked for row in rows),
            hidden=max(row.rest for row in rows),
            off_nats=off_nats if off_nats is not None and math.isfinite(off_nats) else None,
        ),
        one.known,
    )


def _place(layout: Layout, i: int, role: str) -> int:
    """The row of the stack that holds that role's log-probs of sequence i."""
    return int(layout.places[i, 1 + layout.seqs[i].roles.index(role)])
