"""Hand-made token records and runs with a consistent attribution, for tests of how they are shown."""

import math
from collections.abc import Mapping

from eft_demo.method.recipe import BASE, UPSCALED, Recipe
from eft_demo.method.sampling import Sampling
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.trace import Candidate, ColumnTrace, RunTrace, TokenRecord
from tests.asking import make_run

BY_TOKEN = {
    5: {"large_base": -0.5, "small_tuned": -0.2, "small_base": -2.0},
    6: {"large_base": -1.0, "small_tuned": -3.0, "small_base": -0.1},
    9: {"large_base": -3.0, "small_tuned": -4.5, "small_base": -4.0},
    7: {"large_base": -4.0, "small_tuned": -math.inf, "small_base": -4.0},
}


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


def storable(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def run_that_says(text: str, prompt: str | None = None) -> RunTrace:
    """Two columns; the token 6 is `text`, the token 9 half of a character, the token 5 ends the text."""
    piece = storable(text).encode()
    whole = storable(text) + "\ufffd"
    columns = []
    for name, recipe in (("Base", BASE), (text, UPSCALED)):
        by_token = (
            BY_TOKEN if recipe.terms else {t: {"large_base": p["large_base"]} for t, p in BY_TOKEN.items()}
        )
        records = [make_record(recipe, token, by_token, position=i) for i, token in enumerate((6, 9, 5))]
        columns.append(ColumnTrace(name, str(recipe), records, whole, "stop", text, 0.1, 30.0))
    return make_run(
        family="atlas",
        prompt=text if prompt is None else prompt,
        sampling=Sampling(seed=3),
        controls={"alpha": 1.0},
        columns=columns,
        pieces={
            "5": "",
            "6": piece.decode("utf-8", "surrogateescape"),
            "9": b"\xe2\x80".decode("utf-8", "surrogateescape"),
        },
        formats={"large_base": PromptFormat("plain", text[:900].replace("{prompt}", "") + "{prompt}")},
    )
