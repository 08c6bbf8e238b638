"""Hand-made token records with a consistent attribution, for tests of how they are shown."""

import math
from collections.abc import Mapping

from eft_demo.method.recipe import Recipe
from eft_demo.runs.trace import Candidate, TokenRecord


def make_record(
    recipe: Recipe,
    chosen: int,
    by_token: Mapping[int, Mapping[str, float]],
    alpha: float = 1.0,
    position: int = 0,
    controls: Mapping[str, float] | None = None,
) -> TokenRecord:
    """The record of sampling `chosen`; `by_token` holds each role's log-probs, for a whole vocabulary.

    `controls` are the effective values, needed if there are others than alpha.
    """
    controls = {"alpha": alpha} if controls is None else dict(controls)
    weights = recipe.coefficients(controls)
    bars = {
        token: [w * (p[t.plus] - p[t.minus]) for w, t in zip(weights, recipe.terms, strict=True)]
        for token, p in by_token.items()
    }
    raw = {token: p[recipe.anchor] + sum(bars[token]) for token, p in by_token.items()}
    log_z = math.log(sum(math.exp(value) for value in raw.values())) if recipe.terms else 0.0
    candidates = [Candidate(token, raw[token] - log_z, dict(p)) for token, p in by_token.items()]
    candidates.sort(key=lambda candidate: -candidate.logprob)
    ids = [candidate.id for candidate in candidates]
    return TokenRecord(
        position=position,
        id=chosen,
        controls=controls,
        logprob=raw[chosen] - log_z,
        anchor_logprob=by_token[chosen][recipe.anchor],
        bars=tuple(bars[chosen]),
        neg_log_z=-log_z,
        entropy_nats=0.5,
        rank=ids.index(chosen) + 1,
        base_first=max(by_token, key=lambda token: by_token[token][recipe.anchor]),
        by_role=dict(by_token[chosen]),
        candidates=tuple(candidates),
    )
