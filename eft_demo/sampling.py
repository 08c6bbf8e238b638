"""From log-probs to a token: temperature, top-k, top-p, min-p, and one set of dice for everybody.

A token is `argmax(warped log-probs + gumbel(seed, position, token id))`. The noise is a hash and not a random state,
so every panel of a run throws the same dice, in any batch, in any order, and for any subset of the tokens.
Knows no models and no recipes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from eft_demo.settings import MIN_P, SEED, TEMPERATURE, TOP_K, TOP_P

# Below this a gap of 0.002 nats already outweighs the noise; dividing by less would overflow for nothing.
GREEDY_BELOW = 1e-4
# Most top-p sets are smaller than this; a row that needs more tokens is looked at again with 8 times as many.
FIRST_CANDIDATES = 64

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64 (Steele, Lea, Flood 2014), with its two multipliers below
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Raises InputError if a value is outside its limits in `settings`."""

    temperature: float = TEMPERATURE.default
    top_p: float = TOP_P.default  # 1 = off
    top_k: int = int(TOP_K.default)  # 0 = off
    min_p: float = MIN_P.default  # 0 = off
    seed: int = int(SEED.default)

    def __post_init__(self) -> None:
        for limits in (TEMPERATURE, TOP_P, TOP_K, MIN_P, SEED):
            name = limits.name.lower().replace("-", "_")
            object.__setattr__(self, name, limits.check(getattr(self, name)))

    @property
    def is_greedy(self) -> bool:
        return self.temperature < GREEDY_BELOW

    @property
    def is_truncated(self) -> bool:
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0


def gumbel(seeds: Sequence[int], positions: Sequence[int], ids: int | Tensor) -> Tensor:
    """Gumbel noise (rows, n) in float32 for tokens `ids` (rows, n) or (n,), or for all of a vocabulary of size `ids`.

    A pure function of (seed, position, id): one pair of seed and position per row. Finite, between -2.9 and 44.
    """
    if isinstance(ids, int):
        steps = _vocabulary_steps(ids)
    else:
        steps = (ids.long() + 1) * _signed(_GOLDEN)
    keys = [_signed(_row_key(int(s), int(p))) for s, p in zip(seeds, positions, strict=True)]
    bits = torch.tensor(keys, device=steps.device).unsqueeze(1) + steps  # (rows, n)
    _splitmix_(bits)
    # 63 bits as a fraction u of 1; -log1p(-u) is exponential noise and keeps full precision where u is small,
    # which is where the winners are. The clamp keeps both logarithms finite.
    uniform = bits.bitwise_and_(2**63 - 1).float().mul_(2.0**-63).clamp_(2.0**-63, 1 - 2.0**-24)
    return uniform.neg_().log1p_().neg_().log_().neg_()


def warp(logprobs: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """Log-probs (rows, vocab) after temperature, top-k, top-p and min-p, each of shape (rows,); -inf outside.

    What is left is not renormalised. Tokens that tie with the last one kept are kept too; at least one always is.
    Temperature 0 keeps the likeliest token only, the lowest id on ties.
    """
    scaled = _temper(logprobs, temperature)
    warped = torch.empty_like(scaled)
    pending = torch.arange(len(scaled), device=scaled.device)
    count = _first_count(scaled, top_k)
    while len(pending):
        rows = scaled[pending]
        values = rows.topk(count).values
        threshold = _threshold(values, top_k[pending], top_p[pending], min_p[pending])  # (rows, 1)
        warped[pending] = rows.masked_fill(rows < threshold, -torch.inf)
        pending, count = _unfinished(pending, values, threshold, rows.shape[1])
    greedy = temperature < GREEDY_BELOW
    if greedy.any():
        first = torch.zeros_like(scaled).scatter_(1, logprobs.argmax(-1, keepdim=True), 1) == 1
        warped = torch.where(greedy.unsqueeze(1) & ~first, -torch.inf, warped)
    return warped


def sample(logprobs: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> Tensor:
    """Token ids (rows,) int64, drawn from log-probs (rows, vocab); the noise of row i is keyed by positions[i].

    The same as argmax(warp(...) + gumbel(...)), but noise is made only for tokens that can win.
    """
    ids = logprobs.argmax(-1)  # (rows,) and done, for greedy rows
    drawn = [i for i, s in enumerate(samplings) if not s.is_greedy]
    for truncated in (False, True):
        rows = [i for i in drawn if samplings[i].is_truncated == truncated]
        if not rows:
            continue
        subset = logprobs if len(rows) == len(logprobs) else logprobs[rows]
        chosen = [samplings[i] for i in rows]
        draw = _draw_truncated if truncated else _draw_whole
        picked = draw(subset, chosen, [positions[i] for i in rows])
        if len(rows) == len(logprobs):
            return picked
        ids[rows] = picked
    return ids


def _draw_whole(logprobs: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> Tensor:
    scaled = _temper(logprobs, logprobs.new_tensor([s.temperature for s in samplings]))
    noise = gumbel([s.seed for s in samplings], positions, logprobs.shape[1]).to(logprobs.device)
    return noise.add_(scaled).argmax(-1)


def _draw_truncated(logprobs: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> Tensor:
    top_k = torch.tensor([s.top_k for s in samplings], device=logprobs.device)
    top_p, min_p, temperature = logprobs.new_tensor(
        [[s.top_p for s in samplings], [s.min_p for s in samplings], [s.temperature for s in samplings]]
    )
    scaled = _temper(logprobs, temperature)
    picked = torch.empty(len(samplings), dtype=torch.long, device=logprobs.device)
    pending = torch.arange(len(samplings), device=logprobs.device)
    count = _first_count(scaled, top_k)
    while len(pending):
        rows = pending.tolist()
        values, ids = scaled[pending].topk(count)  # (rows, count), falling
        threshold = _threshold(values, top_k[pending], top_p[pending], min_p[pending])
        noise = gumbel([samplings[i].seed for i in rows], [positions[i] for i in rows], ids)
        noise.add_(values).masked_fill_(values < threshold, -torch.inf)
        picked[pending] = ids.gather(1, noise.argmax(-1, keepdim=True)).squeeze(1)
        pending, count = _unfinished(pending, values, threshold, scaled.shape[1])
    return picked


def _temper(logprobs: Tensor, temperature: Tensor) -> Tensor:
    """Log-probs at the given temperature, normalised; greedy rows stay at 1, they need no scale."""
    safe = torch.where(temperature < GREEDY_BELOW, 1.0, temperature)
    return torch.log_softmax(logprobs / safe.unsqueeze(1), dim=-1)


def _threshold(values: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """The lowest log-prob kept (rows, 1), from the highest log-probs (rows, count) in falling order.

    Only final where it lies above the last of `values`; otherwise more of them are needed.
    """
    last = torch.where(top_k > 0, top_k, values.shape[1]).clamp(max=values.shape[1]) - 1
    kth = values.gather(1, last.unsqueeze(1))  # (rows, 1)
    kth = torch.where((top_k > 0).unsqueeze(1), kth, -torch.inf)
    probs = values.exp().masked_fill_(values < kth, 0.0)
    # Top-p counts mass among what top-k left over. Without top-k the whole row has mass 1.
    mass = torch.where(top_k > 0, probs.sum(-1), 1.0).unsqueeze(1)
    before = probs.cumsum(-1).sub_(probs).div_(mass)  # mass ahead of each token
    kept = (before < top_p.unsqueeze(1)).sum(-1, keepdim=True).clamp(min=1)
    nucleus = values.gather(1, kept - 1)
    nucleus = torch.where(top_p.unsqueeze(1) < 1, nucleus, -torch.inf)
    return torch.maximum(torch.maximum(kth, nucleus), values[:, :1] + min_p.log().unsqueeze(1))


def _first_count(scaled: Tensor, top_k: Tensor) -> int:
    # One more than top-k, to see whether the next token ties with the last one kept.
    return min(scaled.shape[1], max(FIRST_CANDIDATES, int(top_k.max()) + 1))


def _unfinished(pending: Tensor, values: Tensor, threshold: Tensor, vocab: int) -> tuple[Tensor, int]:
    """The rows whose kept set may reach beyond `values`, and how many values to look at next."""
    count = values.shape[1]
    if count == vocab:
        return pending[:0], count
    return pending[values[:, -1] >= threshold.squeeze(1)], min(vocab, count * 8)


@lru_cache(maxsize=8)
def _vocabulary_steps(vocab: int) -> Tensor:
    return torch.arange(1, vocab + 1) * _signed(_GOLDEN)  # (vocab,)


def _row_key(seed: int, position: int) -> int:
    """One 64-bit key per (seed, position): two rounds, so neighbouring seeds and positions never meet."""
    return _splitmix((_splitmix(seed) + position * _GOLDEN) & _MASK)


def _splitmix(x: int) -> int:
    x = (x + _GOLDEN) & _MASK
    x = ((x ^ (x >> 30)) * _MULTIPLIER_1) & _MASK
    x = ((x ^ (x >> 27)) * _MULTIPLIER_2) & _MASK
    return x ^ (x >> 31)


def _splitmix_(x: Tensor) -> None:
    """The finaliser of splitmix64, in place. int64 has no logical shift: shift, then mask the sign bits off."""
    x.bitwise_xor_((x >> 30).bitwise_and_(2**34 - 1)).mul_(_signed(_MULTIPLIER_1))
    x.bitwise_xor_((x >> 27).bitwise_and_(2**37 - 1)).mul_(_signed(_MULTIPLIER_2))
    x.bitwise_xor_((x >> 31).bitwise_and_(2**33 - 1))


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x
