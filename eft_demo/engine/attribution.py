"""From log-probs to sampled tokens and their attribution: mixing, sampling, records.

All sequences form one batch of tensors, and a single `.tolist()` moves the results to Python. Mixing and
sampling happen in every step; attribution can wait, so that several steps are attributed in one batch.
"""

from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from eft_demo.engine.batch import Layout, take
from eft_demo.engine.failures import ModelFailure
from eft_demo.engine.sequence import Sequence
from eft_demo.errors import NumericalError
from eft_demo.method.mixing import Mixture, bars_of, entropy_nats, mix, term_delta
from eft_demo.method.sampling import sample
from eft_demo.method.topk import likeliest_and_first, rank
from eft_demo.runs.trace import Candidate, Cut, TokenRecord

ROLE_CANDIDATES = 3  # top tokens of each model, listed in addition to those of the mix

Controls = list[dict[str, float]]  # one per sequence, for one token


@dataclass(frozen=True, slots=True)
class StepLogprobs:
    """The log-probs of the models and of the mixes in one step."""

    mixture: Mixture | None  # of the sequences whose recipe has terms
    stack: Tensor  # (stack, vocab) those of the models, then the mixed ones, in the layout's order
    final: Tensor  # (rows, vocab) what each sequence's token is sampled from


@dataclass(frozen=True, slots=True)
class RowCut:
    """What a server's cut leaves open about one token, and for which tokens (vocab,) log-probs are known."""

    cut: Cut
    known: Tensor


@dataclass(frozen=True, slots=True)
class SampledTokens:
    """One sampled token per sequence of a layout, and everything needed to attribute it."""

    layout: Layout
    ids: Tensor  # (rows,)
    positions: abc.Sequence[int]  # of the tokens in their texts
    controls: Controls  # used for mixing
    mixed: StepLogprobs
    cuts: Mapping[int, RowCut] = field(default_factory=dict)  # row -> what is hidden of it, if anything is


def stack_rows(layout: Layout, rows: abc.Sequence[Tensor]) -> Tensor:
    """The models' log-probs, (vocab,) each, as a stack for `mix_rows`."""
    stack = rows[0].new_empty(len(rows) + layout.mixed, len(rows[0]))
    torch.stack(list(rows), out=stack[: len(rows)])
    return stack


def mix_rows(layout: Layout, stack: Tensor, controls: abc.Sequence[Mapping[str, float]]) -> StepLogprobs:
    """Mix the models' log-probs, whose rows follow the order of the feeds, and complete the stack.

    `stack` is (stack, vocab); the rows of the mixed sequences, its last ones, are written here. `controls`
    has one entry per sequence. Raises ModelFailure naming the sequences whose mix overflows.
    """
    try:
        mixture = _mix(layout, stack, controls)
    except NumericalError as error:
        mixed = layout.seqs[layout.plain :]
        raise ModelFailure([error.model], [mixed[i] for i in error.rows], error) from error
    return StepLogprobs(mixture, stack, take(stack, layout.final))


def sample_tokens(layout: Layout, mixed: StepLogprobs, controls: Controls) -> SampledTokens:
    """Sample the next token of each sequence with its own noise."""
    positions = [seq.position for seq in layout.seqs]
    return SampledTokens(layout, sample(mixed.final, layout.samplings, positions), positions, controls, mixed)


def attribute(steps: abc.Sequence[SampledTokens], count: int) -> list[TokenRecord]:
    """Attribute every token of one or more steps of one layout, ordered by step, then by row.

    `count` is the number of candidates listed from the mix.
    """
    layout = steps[0].layout
    stack = _joined([step.mixed.stack for step in steps])  # (steps * stack, vocab)
    final = _joined([step.mixed.final for step in steps])  # (steps * rows, vocab)
    ids = _joined([step.ids for step in steps]).to(stack.device)  # (steps * rows,)
    starts = torch.arange(0, len(stack), len(stack) // len(steps), device=stack.device)
    # (steps * rows, 1 + roles)
    places = (layout.places.to(stack.device) + starts[:, None, None]).flatten(0, 1)
    # (steps * stack, count) and (steps * stack,)
    _, ranked, first = likeliest_and_first(stack, min(count, stack.shape[1]))
    by_role = ranked[places[:, 1:], :ROLE_CANDIDATES].flatten(1)
    # (steps * rows, 1 + count + roles * ROLE_CANDIDATES); the first is the sampled token
    candidates = torch.cat([ids[:, None], ranked[places[:, 0]], by_role], 1)
    values = stack[places[:, :, None], candidates[:, None, :]]  # (steps * rows, 1 + roles, candidates)
    summary = torch.stack([entropy_nats(final), rank(final, ids), first[places[:, 1]]], 1)
    parts = [summary, _bars(layout, steps, ids.unflatten(0, (len(steps), -1))), candidates, values.flatten(1)]
    table = iter(torch.cat(parts, 1).tolist())  # float32 represents ids up to 16 million exactly
    terms, listed = len(layout.plus), candidates.shape[1]
    return [
        _record(seq, position, controls, next(table), terms, listed, step.cuts.get(i))
        for step in steps
        for i, (seq, position, controls) in enumerate(
            zip(layout.seqs, step.positions, step.controls, strict=True)
        )
    ]


def _mix(layout: Layout, stack: Tensor, controls: abc.Sequence[Mapping[str, float]]) -> Mixture | None:
    mixed = layout.seqs[layout.plain :]
    if not mixed:
        return None
    terms = len(layout.plus)
    weights = [seq.recipe.coefficients(controls[layout.plain + i]) for i, seq in enumerate(mixed)]
    coefficients = torch.tensor([[*w, *[0.0] * (terms - len(w))] for w in weights])  # (mixed, terms)
    anchor = take(stack, layout.anchors)  # (mixed, vocab)
    deltas = [
        term_delta(take(stack, plus), take(stack, minus), anchor)
        for plus, minus in zip(layout.plus, layout.minus, strict=True)
    ]
    together = torch.stack(deltas, 1) if terms > 1 else deltas[0].unsqueeze(1)  # (mixed, terms, vocab)
    return mix(anchor, together, coefficients, layout.filters, stack[-len(mixed) :])


def _bars(layout: Layout, steps: abc.Sequence[SampledTokens], ids: Tensor) -> Tensor:
    """(steps * rows, 1 + terms): neg_log_z, then the contributions; 0 for sequences without terms.

    The ids of the tokens are (steps, rows).
    """
    mixtures = [step.mixed.mixture for step in steps if step.mixed.mixture]
    if not mixtures:
        return torch.zeros(ids.numel(), 1, device=ids.device)
    # Step by step: joining the mixtures would copy whole vocabularies.
    bars = [bars_of(mixture, own[layout.plain :]) for mixture, own in zip(mixtures, ids, strict=True)]
    neg_log_z = -torch.stack([m.log_z for m in mixtures]).unsqueeze(2)  # (steps, mixed, 1)
    by_step = torch.cat([neg_log_z, torch.stack(bars)], 2)
    return F.pad(by_step, (0, 0, layout.plain, 0)).flatten(0, 1)


def _joined(parts: abc.Sequence[Tensor]) -> Tensor:
    """Concatenate the parts. A single part is not copied: with a large vocabulary it can take 100 MB."""
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def _record(
    seq: Sequence,
    position: int,
    controls: dict[str, float],
    cells: list[float],
    terms: int,
    listed: int,
    cut: RowCut | None,
) -> TokenRecord:
    """Turn one line of the table that `attribute` built into a record.

    Candidates whose log-prob a server did not send are left out.
    """
    start = 4 + terms
    ids = [int(cell) for cell in cells[start : start + listed]]
    values = [cells[start + listed * (1 + i) : start + listed * (2 + i)] for i in range(1 + len(seq.roles))]
    # Most ids are listed several times; make only one candidate for each.
    by_token = {
        token: Candidate(token, logprob, dict(zip(seq.roles, by_role, strict=True)))
        for token, (logprob, *by_role) in dict(zip(ids, zip(*values, strict=True), strict=True)).items()
    }
    drawn = by_token[ids[0]]
    if cut:
        by_token = {token: found for token, found in by_token.items() if cut.known[token] or found is drawn}
    return TokenRecord(
        position=position,
        id=drawn.id,
        controls=controls,
        logprob=drawn.logprob,
        anchor_logprob=drawn.by_role[seq.recipe.anchor],
        bars=tuple(cells[4 : 4 + len(seq.recipe.terms)]),
        neg_log_z=cells[3],
        entropy_nats=cells[0],
        rank=int(cells[1]),
        base_first=int(cells[2]),
        by_role=drawn.by_role,
        candidates=tuple(sorted(by_token.values(), key=_falling)),
        cut=cut.cut if cut else None,
    )


def _falling(candidate: Candidate) -> tuple[float, int]:
    return -candidate.logprob, candidate.id
