"""Random models of a few tokens, their real mixture, and the record that the engine would make of a step."""

import math

import torch
from torch import Tensor

from eft_demo.method.mixing import entropy_nats, mix, term_delta
from eft_demo.method.recipe import Recipe, parse
from eft_demo.method.sampling import Sampling, sample
from eft_demo.method.topk import rank
from eft_demo.runs.trace import Candidate, TokenRecord

ROLES = ("large_base", "small_base", "small_tuned")
BLEND = parse("large_base + alpha*(small_tuned - small_base) + 0.5*(small_base - small_tuned)")
VOCAB = 12


def models(seed: int, vocab: int = VOCAB, forbidden: bool = False) -> dict[str, Tensor]:
    """Log-probs (vocab,) per role; with `forbidden`, each model rules out a token of its own."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(ROLES), vocab, generator=generator) * 2
    if forbidden:
        for row in range(len(ROLES)):
            logits[row, row] = -math.inf
    return dict(zip(ROLES, logits.log_softmax(-1), strict=True))


def mixture(recipe: Recipe, roles: dict[str, Tensor], controls: dict[str, float]) -> tuple[Tensor, Tensor]:
    """The real thing: log-probs (1, vocab) and log_z (1,)."""
    anchor = roles[recipe.anchor][None]
    if not recipe.terms:
        return anchor, torch.zeros(1)
    deltas = [term_delta(roles[t.plus][None], roles[t.minus][None], anchor) for t in recipe.terms]
    mixed = mix(anchor, torch.stack(deltas, 1), torch.tensor([recipe.coefficients(controls)]))
    return mixed.logprobs, mixed.log_z


def record_of(
    recipe: Recipe,
    roles: dict[str, Tensor],
    controls: dict[str, float],
    sampling: Sampling,
    position: int = 0,
    count: int = VOCAB,
) -> TokenRecord:
    """What the engine would record, with `count` candidates of the mix beside the token drawn."""
    logprobs, log_z = mixture(recipe, roles, controls)
    chosen = sample(logprobs, [sampling], [position])
    ids = dict.fromkeys([int(chosen), *logprobs[0].topk(count).indices.tolist()])
    listed = [
        Candidate(i, float(logprobs[0, i]), {role: float(values[i]) for role, values in roles.items()})
        for i in ids
    ]
    listed.sort(key=lambda candidate: -candidate.logprob)
    own = next(candidate for candidate in listed if candidate.id == int(chosen))
    return TokenRecord(
        position=position,
        id=own.id,
        controls=controls,
        logprob=own.logprob,
        anchor_logprob=own.by_role[recipe.anchor],
        bars=(),
        neg_log_z=-float(log_z),
        entropy_nats=float(entropy_nats(logprobs)),
        rank=int(rank(logprobs, chosen)),
        base_first=int(roles[recipe.anchor].argmax()),
        by_role=own.by_role,
        candidates=tuple(listed),
    )
