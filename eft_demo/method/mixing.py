"""Mixing: log-probs of several models in, one mixed distribution and its exact attribution out.

    mixed = anchor + sum_k c_k * delta_k          delta_k = plus_k - minus_k        (nats)
    logprobs = mixed - log_z                      log_z = logsumexp(mixed)

Outside the anchor's likeliest tokens, a weight filter sets deltas to 0 or rules the tokens out. Tensors in,
tensors out, batched over rows; float32 throughout. Knows no models, roles or text. `-inf` marks a token that
a model rules out; explicit rules handle it, never arithmetic on infinities.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from eft_demo.errors import NumericalError
from eft_demo.method.topk import likeliest
from eft_demo.method.weight_filter import WeightFilter

# The delta, in nats, of a token that exactly one of the two models rules out: decisive but finite.
SUPPORT_DELTA_NATS = 30.0
# Most top-p sets are smaller than this; for larger ones, look at 8 times as many tokens. A full sort is slow.
FIRST_LOOK = 64


@dataclass(frozen=True, slots=True)
class Mixture:
    """Mixed log-probs and their parts. For a row without terms, `terms` is 0 or its coefficients are 0."""

    logprobs: Tensor  # (rows, vocab) the final, normalised log-probs
    anchor: Tensor  # (rows, vocab)
    deltas: Tensor  # (rows, terms, vocab) 0 outside the weight filter
    coefficients: Tensor  # (rows, terms)
    log_z: Tensor  # (rows,)


@dataclass(frozen=True, slots=True)
class ControlTokens:
    """Ids without text. `stops` end a text and are pooled into one token; `banned` are never sampled."""

    stops: tuple[int, ...] = ()
    banned: tuple[int, ...] = ()


def pool_control_tokens(logits: Tensor, control_tokens: ControlTokens) -> Tensor:
    """Move the mass of all stop tokens to the first one and remove banned tokens; logits are (rows, vocab).

    A base model never learned the end tokens that tuning introduced: the difference of a single one is noise,
    but together they show how sure each model is that the text ends.
    """
    stops, banned = control_tokens.stops, control_tokens.banned
    if len(stops) < 2 and not banned:
        return logits
    logits = logits.to(torch.float32, copy=True)
    if len(stops) > 1:
        pooled = logits.index_select(1, _ids(stops, logits.device)).logsumexp(1)
        logits.index_fill_(1, _ids(stops[1:], logits.device), -torch.inf)
        logits[:, stops[0]] = pooled
    if banned:
        logits.index_fill_(1, _ids(banned, logits.device), -torch.inf)
    return logits


@lru_cache(maxsize=64)  # a copy to a GPU waits until it has done all that was asked of it
@torch.inference_mode(False)  # as others may index with it while they train
def _ids(ids: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(ids, device=device)


def to_logprobs(logits: Tensor, model: str, out: Tensor | None = None) -> Tensor:
    """float32 log-softmax over the last dimension, written to `out` if given.

    A row may contain -inf, but not only -inf. Raises NumericalError naming `model` and the rows if a row
    contains NaN or +inf, or nothing finite.
    """
    logprobs = torch.log_softmax(logits, dim=-1, dtype=torch.float32, out=out)  # (rows, vocab)
    _check_rows(logprobs, model)
    return logprobs


def term_delta(plus: Tensor, minus: Tensor, anchor: Tensor) -> Tensor:
    """`plus - minus` per token, finite everywhere; all three are log-probs of shape (rows, vocab).

    If one of the two is -inf, the delta is +-SUPPORT_DELTA_NATS; if both are, it is 0. Outside the anchor's
    support it is 0 too, because nothing may bring such a token back.
    """
    delta = plus - minus
    # Only inf - inf can produce a NaN here: to_logprobs rejects all others.
    delta.nan_to_num_(nan=0.0, posinf=SUPPORT_DELTA_NATS, neginf=-SUPPORT_DELTA_NATS)
    # Multiplying by ones and zeros is several times as fast as filling through a mask of bools.
    supported = torch.gt(anchor, -math.inf, out=torch.empty_like(anchor))
    return delta.mul_(supported)  # (rows, vocab)


def mix(
    anchor: Tensor,
    deltas: Tensor,
    coefficients: Tensor,
    filters: Sequence[WeightFilter] = (),
    out: Tensor | None = None,
) -> Mixture:
    """Mix anchor log-probs (rows, vocab) with finite deltas (rows, terms, vocab); coefficients (rows, terms).

    `filters` has one weight filter per row; empty means all off. A row whose coefficients are all 0 keeps its
    anchor bit for bit, with log_z 0, whatever its filter. The log-probs are written to `out` if given.
    Raises NumericalError if a row overflows float32.
    """
    if deltas.shape[1] == 0:
        return Mixture(anchor, anchor, deltas, coefficients, anchor.new_zeros(anchor.shape[0]))
    untouched = [i for i, weights in enumerate(coefficients.tolist()) if not any(weights)]
    coefficients = coefficients.to(anchor.device)
    mixed = anchor
    if any(weight_filter.is_active for weight_filter in filters):
        outside = anchor < filter_floor(anchor, filters)  # (rows, vocab)
        deltas = deltas.masked_fill(outside.unsqueeze(1), 0.0)
        ruled_out = torch.tensor([f.kind == "mask" for f in filters], device=anchor.device)
        mixed = anchor.masked_fill(outside & ruled_out.unsqueeze(1), -torch.inf)
    for k in range(deltas.shape[1]):
        mixed = torch.addcmul(mixed, deltas[:, k], coefficients[:, k : k + 1])  # (rows, vocab)
    logprobs = torch.log_softmax(mixed, dim=-1, out=out)
    _check_rows(logprobs, "mixture")
    # Reading log_z at the likeliest token is cheaper than a logsumexp and as exact.
    log_z = mixed.amax(dim=-1) - logprobs.amax(dim=-1)  # (rows,)
    for i in untouched:
        logprobs[i].copy_(anchor[i])
        log_z[i] = 0.0
    return Mixture(logprobs, anchor, deltas, coefficients, log_z)


def filter_floor(anchor: Tensor, filters: Sequence[WeightFilter]) -> Tensor:
    """The lowest anchor log-prob (rows, 1) at which terms may act in each row; the anchor is (rows, vocab).

    top-p: the log-prob of the last token in the smallest set whose mass exceeds p (the paper's rule); ties
    are included. mask: the likeliest token's plus log r (contrastive decoding, arXiv 2210.15097). off: -inf.
    """
    floor = anchor.new_full((len(filters), 1), -torch.inf)
    masked = [i for i, f in enumerate(filters) if f.kind == "mask"]
    if masked:
        ratios = anchor.new_tensor([filters[i].value for i in masked])
        floor[masked] = anchor[masked].amax(1, keepdim=True) + ratios.log().unsqueeze(1)
    nucleus = [i for i, f in enumerate(filters) if f.kind == "top_p" and f.is_active]
    if nucleus:
        mass = anchor.new_tensor([filters[i].value for i in nucleus])
        floor[nucleus] = _nucleus_floor(anchor[nucleus], mass, FIRST_LOOK)
    return floor


def _nucleus_floor(logprobs: Tensor, mass: Tensor, count: int) -> Tensor:
    """The lowest log-prob (rows, 1) in the smallest set of likeliest tokens with more than `mass` (rows,)."""
    count = min(count, logprobs.shape[1])
    values, _ = likeliest(logprobs, count)
    probs = values.double().exp()
    before = probs.cumsum(1) - probs  # the mass ahead of each token
    last = (before <= mass.unsqueeze(1)).sum(1, keepdim=True) - 1
    floor = values.gather(1, last)
    is_open = (last.squeeze(1) == count - 1) & (before[:, -1] + probs[:, -1] <= mass)
    if count < logprobs.shape[1] and is_open.any():
        floor[is_open] = _nucleus_floor(logprobs[is_open], mass[is_open], count * 8)
    return floor


def contributions(mixture: Mixture, ids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The attribution of one token per row, in nats: anchor_logprob, bars, neg_log_z, logprob.

    The bars are (rows, terms), the others (rows,). The first three sum to the last, to float32 rounding.
    """
    column = ids.unsqueeze(1)  # (rows, 1)
    return (
        mixture.anchor.gather(1, column).squeeze(1),
        bars_of(mixture, ids),
        -mixture.log_z,
        mixture.logprobs.gather(1, column).squeeze(1),
    )


def bars_of(mixture: Mixture, ids: Tensor) -> Tensor:
    """The contribution of each term (rows, terms) to the log-prob of one token per row, in nats."""
    places = ids[:, None, None].expand(-1, mixture.deltas.shape[1], 1)  # (rows, terms, 1)
    return mixture.coefficients * mixture.deltas.gather(2, places).squeeze(2)


def entropy_nats(logprobs: Tensor) -> Tensor:
    """The entropy of each row (rows,) in nats; ruled-out tokens contribute 0."""
    # The clamp turns 0 * -inf into 0. The rows are normalised, so softmax is exp, in two thirds of the time.
    mean_logprob: Tensor = torch.linalg.vecdot(logprobs.softmax(-1), logprobs.clamp(min=-1e30))
    return -mean_logprob


def _check_rows(logprobs: Tensor, model: str) -> None:
    # One NaN or +inf, or only -inf, makes a row's whole log-softmax NaN, so checking one element is enough.
    first = logprobs[..., 0].flatten().tolist()
    bad = [i for i, value in enumerate(first) if math.isnan(value)]
    if bad:
        raise NumericalError(model, bad)
