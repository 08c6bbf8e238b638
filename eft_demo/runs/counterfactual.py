"""What another alpha would have chosen, worked out from what a run recorded: no model runs.

A record lists the likeliest tokens only. So every answer says how much probability at most may lie on tokens
that were not recorded, or that this cannot be known. Pure functions; knows no models, text or page.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from eft_demo.errors import InputError
from eft_demo.method.mixing import SUPPORT_DELTA_NATS, flip_alpha
from eft_demo.method.recipe import Recipe, Term
from eft_demo.method.sampling import GREEDY_BELOW, Sampling, gumbel, kept_places
from eft_demo.method.schedule import CONSTANT, Schedule
from eft_demo.method.weight_filter import OFF, WeightFilter
from eft_demo.runs.trace import Candidate, TokenRecord

_SAME_COEFFICIENT = 1e-9
_ROUNDING = 1e-6  # probabilities of a recorded file are rounded; below this none is missing


@dataclass(frozen=True, slots=True)
class Choice:
    """What the same noise would choose among the recorded tokens, all before it being as they were."""

    id: int
    changed: bool  # whether that is another token than the text has
    unrecorded: float | None  # at most this probability lies on tokens not recorded; None: not known

    @property
    def is_certain(self) -> bool:
        """Whether no token outside the record can have been chosen."""
        return self.unrecorded is not None and self.unrecorded <= _ROUNDING


@dataclass(frozen=True, slots=True)
class Run:
    """What the answers need to know of a column beside its tokens."""

    recipe: Recipe
    sampling: Sampling
    weight_filter: WeightFilter = OFF
    schedule: Schedule = CONSTANT


def deltas_of(recipe: Recipe, candidate: Candidate) -> tuple[float, ...]:
    """One delta per term in nats, finite, by the support rule of `mixing.term_delta`."""
    if candidate.by_role[recipe.anchor] == -math.inf:
        return (0.0,) * len(recipe.terms)
    return tuple(_delta(candidate, term) for term in recipe.terms)


def mixed_at(run: Run, record: TokenRecord, controls: Mapping[str, float]) -> dict[int, float]:
    """id -> anchor + terms at these controls, in nats and not normalised, for every recorded token.

    `controls` are effective values; those left out stay as the record has them.
    """
    coefficients = run.recipe.coefficients({**record.controls, **controls})
    inside = _inside(run, record) if any(coefficients) else None
    mixed = {}
    for candidate in record.candidates:
        value = candidate.by_role[run.recipe.anchor]
        if inside is None or candidate.id in inside:
            terms = zip(coefficients, deltas_of(run.recipe, candidate), strict=True)
            value += sum(weight * delta for weight, delta in terms)
        elif run.weight_filter.kind == "mask":
            value = -math.inf
        mixed[candidate.id] = value
    return mixed


def choice_at(run: Run, record: TokenRecord, controls: Mapping[str, float]) -> Choice:
    """The token that the noise of this run would choose at these controls (effective values).

    For an added warper no record is enough: the token as it is, with None for what is not recorded.
    """
    return _choice(run, record, controls, _noise(run, record))


def choices(run: Run, records: Iterable[TokenRecord], controls: Mapping[str, float]) -> list[Choice]:
    """One choice per token with the sliders at `controls`; the schedule makes effective values of them."""
    return [choice_at(run, record, effective(run.schedule, record, controls)) for record in records]


def first_divergence(made: Sequence[Choice]) -> int | None:
    """The first token that would change. From there on the text itself would be another one."""
    return next((i for i, choice in enumerate(made) if choice.changed), None)


def strip(run: Run, records: Sequence[TokenRecord], name: str, values: Sequence[float]) -> list[list[Choice]]:
    """Rows of choices, one per value of the control `name`, one column per token."""
    noises = [_noise(run, record) for record in records]
    return [
        [
            _choice(run, record, effective(run.schedule, record, {name: value}), noise)
            for record, noise in zip(records, noises, strict=True)
        ]
        for value in values
    ]


def effective(schedule: Schedule, record: TokenRecord, controls: Mapping[str, float]) -> dict[str, float]:
    """The values that act on this token when the sliders stand at `controls`. Beta has no schedule."""
    factor = schedule.factor(record.position)
    return {name: value if name == "beta" else value * factor for name, value in controls.items()}


def flip_alphas(run: Run, record: TokenRecord, name: str = "alpha") -> list[tuple[int, float]]:
    """(rival, value of the control) at which rival and chosen token are equally likely, nearest first.

    Effective values; rivals that never draw level, or that a filter keeps out, are left out.
    """
    here = record.controls.get(name)
    if here is None or name not in run.recipe.controls:
        return []
    levels = mixed_at(run, record, {name: 0.0})
    slopes = mixed_at(run, record, {name: 1.0})
    chosen = record.id
    flips = []
    for rival in levels:
        # Numbers may be infinite; flip_alpha then knows no answer, and inf - inf must not be asked for.
        if rival == chosen or not math.isfinite(levels[rival]) or not math.isfinite(levels[chosen]):
            continue
        value = flip_alpha(
            levels[chosen],
            levels[rival],
            slopes[chosen] - levels[chosen],
            slopes[rival] - levels[rival],
        )
        if value is not None:
            flips.append((rival, value))
    return sorted(flips, key=lambda flip: abs(flip[1] - here))


def cumulative_log_odds(ours: Sequence[TokenRecord], theirs: Sequence[TokenRecord]) -> list[float]:
    """After each token, how many nats likelier the text so far is in one column than in the other.

    Both must tell of the same text. Raises InputError if they do not.
    """
    if [record.id for record in ours] != [record.id for record in theirs]:
        raise InputError(
            "These two columns tell of different texts, so their log-odds cannot be added up. "
            "Please switch to the same text first."
        )
    total, sums = 0.0, []
    for our, their in zip(ours, theirs, strict=True):
        total += our.logprob - their.logprob
        sums.append(total)
    return sums


def log_odds_over_role(records: Sequence[TokenRecord], role: str) -> list[float]:
    """The same against a model alone that is a role of these records, which hold what it gave each token."""
    total, sums = 0.0, []
    for record in records:
        total += record.logprob - record.by_role[role]
        sums.append(total)
    return sums


def unrecorded_share(run: Run, record: TokenRecord, controls: Mapping[str, float]) -> float | None:
    """At most so much probability (at temperature 1) lies on tokens that the record does not list.

    Known where the record was made, and on the way from there to no terms at all: the mass of any fixed set
    of tokens is log-convex along that way, so it stays below the line between its ends. None elsewhere.
    """
    log_mass = _unrecorded_log_mass(run, record, controls)
    return None if log_mass is None else _share(log_mass, mixed_at(run, record, controls).values())


def _choice(
    run: Run, record: TokenRecord, controls: Mapping[str, float], noise: Mapping[int, float]
) -> Choice:
    if _way(run, record, controls) == 1:
        return Choice(record.id, changed=False, unrecorded=0.0)  # the record itself is the answer
    if run.sampling.active_warpers:  # they need the whole distribution, so what they would leave is not known
        return Choice(record.id, changed=False, unrecorded=None)
    mixed = mixed_at(run, record, controls)
    chosen = _draw(run.sampling, mixed, noise)
    log_mass = _unrecorded_log_mass(run, record, controls)
    return Choice(chosen, chosen != record.id, _warped_share(run.sampling, log_mass, mixed.values()))


def _draw(sampling: Sampling, mixed: Mapping[int, float], noise: Mapping[int, float]) -> int:
    """As `sampling.sample` draws, among these tokens."""
    ranked = sorted(mixed, key=lambda token: (-mixed[token], token))
    if sampling.is_greedy:
        return ranked[0]
    tempered = [mixed[token] / sampling.temperature for token in ranked]
    total = tempered[0] + math.log(sum(math.exp(value - tempered[0]) for value in tempered))
    kept = kept_places([value - total for value in tempered], sampling)
    return ranked[max(kept, key=lambda place: tempered[place] + noise[ranked[place]])]


def _noise(run: Run, record: TokenRecord) -> dict[int, float]:
    ids = [candidate.id for candidate in record.candidates]
    noise = gumbel([run.sampling.seed], [record.position], torch.tensor([ids]))
    return dict(zip(ids, noise[0].tolist(), strict=True))


def _delta(candidate: Candidate, term: Term) -> float:
    plus, minus = candidate.by_role[term.plus], candidate.by_role[term.minus]
    if plus == minus == -math.inf:
        return 0.0
    if -math.inf in (plus, minus):
        return -SUPPORT_DELTA_NATS if plus == -math.inf else SUPPORT_DELTA_NATS
    return plus - minus


def _inside(run: Run, record: TokenRecord) -> set[int] | None:
    """The recorded tokens on which the terms act; None where all are."""
    if run.weight_filter.kind == "off":
        return None
    anchor = {candidate.id: candidate.by_role[run.recipe.anchor] for candidate in record.candidates}
    ranked = sorted(anchor, key=lambda token: (-anchor[token], token))
    if run.weight_filter.kind == "mask":
        lowest = anchor[ranked[0]] + math.log(run.weight_filter.value)
        return {token for token in ranked if anchor[token] >= lowest}
    inside, ahead = set(), 0.0
    for token in ranked:
        if ahead > run.weight_filter.value:
            break
        inside.add(token)
        ahead += math.exp(anchor[token])
    return inside & _acted_on(run, record)


def _acted_on(run: Run, record: TokenRecord) -> set[int]:
    """Tokens on which the terms may have acted when the record was made: it shows in their log-probs."""
    coefficients = run.recipe.coefficients(record.controls)
    acted = set()
    for candidate in record.candidates:
        pushed = sum(c * d for c, d in zip(coefficients, deltas_of(run.recipe, candidate), strict=True))
        untouched = candidate.by_role[run.recipe.anchor] + record.neg_log_z
        if abs(candidate.logprob - untouched - pushed) <= abs(candidate.logprob - untouched) + _ROUNDING:
            acted.add(candidate.id)
    return acted


def _way(run: Run, record: TokenRecord, controls: Mapping[str, float]) -> float | None:
    """How far along the way from no terms (0) to the record's own coefficients (1); None if beside it."""
    then = run.recipe.coefficients(record.controls)
    now = run.recipe.coefficients({**record.controls, **controls})
    if all(abs(a - b) <= _SAME_COEFFICIENT for a, b in zip(then, now, strict=True)):
        return 1.0
    share = next((b / a for a, b in zip(then, now, strict=True) if a), None)
    if share is None or not 0 <= share <= 1:
        return None
    on_it = all(abs(share * a - b) <= _SAME_COEFFICIENT for a, b in zip(then, now, strict=True))
    return share if on_it else None


def _unrecorded_log_mass(run: Run, record: TokenRecord, controls: Mapping[str, float]) -> float | None:
    """An upper bound in nats, on the scale of the mixed values that are not normalised."""
    way = _way(run, record, controls)
    if way is None:
        return None
    at_record = _log_rest(candidate.logprob for candidate in record.candidates) - record.neg_log_z
    at_zero = _log_rest(candidate.by_role[run.recipe.anchor] for candidate in record.candidates)
    return (1 - way) * at_zero + way * at_record


def _log_rest(logprobs: Iterable[float]) -> float:
    return math.log(max(1 - sum(map(math.exp, logprobs)), _ROUNDING / 10))


def _warped_share(sampling: Sampling, log_mass: float | None, mixed: Iterable[float]) -> float | None:
    """The share after the temperature: colder never makes unlikely tokens likelier, hotter may."""
    values = list(mixed)
    if log_mass is None or sampling.temperature > 1:
        return None
    if sampling.temperature < GREEDY_BELOW:
        return 0.0 if log_mass < max(values) else _share(log_mass, values)
    return _share(log_mass / sampling.temperature, [value / sampling.temperature for value in values])


def _share(log_mass: float, values: Iterable[float]) -> float:
    known = list(values)
    top = max(log_mass, *known)  # taken out first, so that nothing overflows
    mass = math.exp(log_mass - top)
    return mass / (mass + sum(math.exp(value - top) for value in known))
