"""Sampling: temperature, top-k, top-p, min-p, added warpers, and Gumbel noise that all columns share.

A token is `argmax(warped log-probs + gumbel(seed, position, token id))`. The noise is a hash, not a random
state, so all columns of a run share it, in any batch, in any order, for any subset of the tokens.
Knows no models and no recipes.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import neg
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Re-exported with `as`: callers import the settings together with the sampler.
from eft_demo.method.sampling_settings import GREEDY_BELOW as GREEDY_BELOW
from eft_demo.method.sampling_settings import WARPERS
from eft_demo.method.sampling_settings import Sampling as Sampling
from eft_demo.method.topk import first_highest, likeliest

# Nine of ten top-p sets are smaller than this; for the others, look at 16 times as many tokens.
FIRST_CANDIDATES = 16
NEXT_LOOK = 16
# Noise for a whole vocabulary is made here, in milliseconds, so on a GPU look at this many tokens before.
LAST_LOOK = 4096
# More than float32 rounding can change noise, in nats, and a sum of probabilities.
NOISE_ERROR = 1e-3
MASS_ERROR = 1e-4

_Array = NDArray[Any]
_Limits = tuple[int, float, float]  # top-k, top-p, min-p
_NO_LIMITS: _Limits = (0, 1.0, 0.0)
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64 (Steele, Lea, Flood 2014), with its two multipliers below
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB


def gumbel(seeds: Sequence[int] | Tensor, positions: Sequence[int] | Tensor, ids: int | Tensor) -> Tensor:
    """Gumbel noise in float32 for tokens `ids` (rows, n) or (n,), or for a whole vocabulary of size `ids`.

    A pure function of (seed, position, id), with one seed and one position per row; the result is (rows, n),
    finite, between -2.9 and 44. Computed on the CPU, so that runs on a GPU get exactly the same noise.
    """
    keys = [_row_key(int(s), int(p)) for s, p in zip(seeds, positions, strict=True)]
    if isinstance(ids, Tensor):
        return torch.from_numpy(_noise(keys, _steps(ids.cpu().numpy())))
    # Columns at the same position share their noise, so compute each distinct row once.
    distinct = list(dict.fromkeys(keys))
    noise = torch.from_numpy(_noise(distinct, _vocabulary_steps(ids)))
    return noise if len(distinct) == len(keys) else noise[[distinct.index(key) for key in keys]]


def warp(logprobs: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """Log-probs (rows, vocab) after temperature, top-k, top-p and min-p, each of shape (rows,); -inf outside.

    The result is not renormalised. Ties with the last kept token are kept; at least one token is. Temperature
    0 keeps only the likeliest token, the lowest id on ties.
    """
    limits = list(zip(map(int, top_k.tolist()), top_p.tolist(), min_p.tolist(), strict=True))
    is_greedy = temperature < GREEDY_BELOW
    scaled = _temper(logprobs, temperature.masked_fill(is_greedy, 1.0))
    warped = scaled.clone()
    limited = [i for i, limit in enumerate(limits) if limit != _NO_LIMITS]
    if limited:
        warped[limited] = _warp_rows(scaled[limited], [limits[i] for i in limited], FIRST_CANDIDATES)
    greedy = is_greedy.nonzero().flatten()
    warped[greedy] = -torch.inf
    warped[greedy, first_highest(logprobs[greedy])] = 0.0
    return warped


def sample(logprobs: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> Tensor:
    """Sample token ids (rows,) int64 from log-probs (rows, vocab); positions[i] keys the noise of row i.

    The same as argmax(warp(...) + gumbel(...)), but computes noise only for tokens that can win. The result
    is on the device of the log-probs or on the CPU, whichever the last step ran on.
    """
    groups: dict[_Draw, list[int]] = {}
    draw: _Draw
    for i, sampling in enumerate(samplings):
        draw = _draw_greedy if sampling.is_greedy else _draw_kept if sampling.is_truncated else _draw_any
        if WARPERS and sampling.active_warpers:
            draw = _draw_warped
        groups.setdefault(draw, []).append(i)
    if len(groups) == 1:
        return next(iter(groups))(logprobs, samplings, positions)
    ids = torch.empty(len(samplings), dtype=torch.long)
    for draw, rows in groups.items():
        chosen = [samplings[i] for i in rows]
        mine = logprobs.index_select(0, torch.tensor(rows, device=logprobs.device))
        ids[rows] = draw(mine, chosen, [positions[i] for i in rows]).cpu()
    return ids


def overlap(first: Tensor, second: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """The overlap (rows,) of two sampling distributions, from log-probs (rows, vocab): 0 to 1.

    It is 1 minus the total variation distance of the warped distributions.
    """
    warped = _warp_all(torch.cat([first, second]), [*samplings, *samplings])
    return torch.minimum(*warped.softmax(-1).chunk(2)).sum(-1)


def _warp_all(logprobs: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Log-probs (rows, vocab) after `warp` and the added warpers; -inf outside, not renormalised."""
    settings = [[s.temperature, s.top_k, s.top_p, s.min_p] for s in samplings]
    warped = warp(logprobs, *logprobs.new_tensor(settings).unbind(1))
    for name, warper in WARPERS.items():
        rows = [i for i, sampling in enumerate(samplings) if warper in sampling.active_warpers]
        if rows:
            values = warped.new_tensor([getattr(samplings[i], name) for i in rows])
            left = warped[rows].log_softmax(-1)
            kept = warper.keep(left, values) & (left > -torch.inf)
            none = (~kept.any(-1)).nonzero().flatten()
            kept[none, first_highest(left[none])] = True
            warped[rows] = warped[rows].masked_fill(~kept, -torch.inf)
    return warped


_Draw = Callable[[Tensor, Sequence[Sampling], Sequence[int]], Tensor]


def _draw_greedy(logprobs: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> Tensor:
    return first_highest(logprobs)


def _draw_any(logprobs: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> Tensor:
    scaled = _temper(logprobs, _temperatures(logprobs, samplings))
    if not scaled.is_cpu:  # sending the noise there is faster than bringing the log-probs here
        noise = gumbel([s.seed for s in samplings], positions, logprobs.shape[1]).to(logprobs.device)
        return first_highest(scaled.add_(noise))
    keys = [_row_key(s.seed, position) for s, position in zip(samplings, positions, strict=True)]
    highest = _read_likeliest(scaled, min(FIRST_CANDIDATES, scaled.shape[1]))
    rows = list(map(_Looked, scaled.numpy(), *highest))
    return torch.tensor(_draw_wide(rows, [_NO_LIMITS] * len(rows), keys))


def _draw_warped(logprobs: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> Tensor:
    noise = gumbel([s.seed for s in samplings], positions, logprobs.shape[1]).to(logprobs.device)
    return first_highest(_warp_all(logprobs, samplings).add_(noise))


def _draw_kept(logprobs: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> Tensor:
    scaled = _temper(logprobs, _temperatures(logprobs, samplings))
    limits = [(s.top_k, s.top_p, s.min_p) for s in samplings]
    keys = [_row_key(s.seed, position) for s, position in zip(samplings, positions, strict=True)]
    return torch.tensor(_draw_listed(scaled, limits, keys, FIRST_CANDIDATES))


def _draw_listed(scaled: Tensor, limits: Sequence[_Limits], keys: Sequence[int], count: int) -> Sequence[int]:
    """Sample one id per row, from the `count` likeliest tokens where no others are kept."""
    values, ids, kept, open_rows = _likeliest_kept(scaled, limits, count)
    drawn = [row[0] for row in ids]
    # For more than half of all tokens a single candidate is kept, so no noise is needed.
    undecided = [i for i, n in enumerate(kept) if n > 1 and i not in open_rows]
    if undecided:
        most = max(kept[i] for i in undecided)
        scores = _noise([keys[i] for i in undecided], _steps(np.array([ids[i][:most] for i in undecided])))
        scores += np.array([values[i][:most] for i in undecided], dtype=np.float32)
        for line, i in zip(scores, undecided, strict=True):
            drawn[i] = ids[i][int(line[: kept[i]].argmax())]
    if open_rows:
        rest_limits, rest_keys = [limits[i] for i in open_rows], [keys[i] for i in open_rows]
        rest: Sequence[int]
        if scaled.is_cpu:
            rows = [_Looked(scaled[i].numpy(), values[i], ids[i]) for i in open_rows]
            rest = _draw_wide(rows, rest_limits, rest_keys)
        elif count < LAST_LOOK:
            rest = _draw_listed(scaled[open_rows], rest_limits, rest_keys, NEXT_LOOK * count)
        else:
            warped = _warp_rows(scaled[open_rows], rest_limits, NEXT_LOOK * FIRST_CANDIDATES)
            noise = torch.from_numpy(_noise(rest_keys, _vocabulary_steps(scaled.shape[1])))
            rest = first_highest(warped.add_(noise.to(scaled.device))).tolist()
        for i, token in zip(open_rows, rest, strict=True):
            drawn[i] = token
    return drawn


class _Looked(NamedTuple):
    """A row of log-probs, and the likeliest of them with their ids. All of these are kept."""

    row: _Array  # (vocab,) float32
    values: list[float]  # descending
    ids: list[int]


def _draw_wide(rows: Sequence[_Looked], limits: Sequence[_Limits], keys: Sequence[int]) -> list[int]:
    """Sample one id per row where too many tokens are kept to list them.

    `best` is the highest score among the likeliest tokens. No other token is likelier than the last of
    these, so it needs noise above `best` minus that log-prob. The hashes show which tokens have so much
    noise; the noise itself is computed only for these.
    """
    steps = _vocabulary_steps(len(rows[0].row))
    hashes: dict[int, _Array] = {}
    drawn = []
    for (row, values, ids), limit, key in zip(rows, limits, keys, strict=True):
        if key not in hashes:  # columns at the same position share their noise
            hashes[key] = _hash([key], steps)[0]
        best = (_noise([key], steps[ids])[0] + np.array(values, dtype=np.float32)).max()
        able = np.flatnonzero(hashes[key] <= _highest_hash(float(best) - values[-1] - NOISE_ERROR))
        found = np.union1d(able, ids)
        scores = _gumbel_of(hashes[key][found]) + row[found]
        winner = int(found[scores.argmax()])
        if winner not in ids and not _surely_kept(row, float(row[winner]), values[0], limit):
            lowest = _lowest_kept(row, float(row[winner]), values, limit)
            winner = int(found[np.where(row[found] >= lowest, scores, -np.inf).argmax()])
        drawn.append(winner)
    return drawn


def _highest_hash(noise: float) -> int:
    """The highest hash whose noise is at least `noise`."""
    if noise < -2:  # nearly all have it, and lower noise is coarsely rounded
        return _MASK
    return min(_MASK, int(-math.expm1(-math.exp(-noise)) * 2.0**64))


def _surely_kept(row: _Array, value: float, highest: float, limits: _Limits) -> bool:
    """Whether a token of log-prob `value` is kept for certain; False if it is not, or in doubt."""
    top_k, top_p, min_p = limits
    if top_k or (min_p and value < highest + math.log(min_p)):
        return False
    if top_p == 1:
        return True
    # The mass ahead of it. Single precision suffices unless the token is close to the edge.
    ahead = np.dot(np.exp(row), (row > value).astype(np.float32))
    return bool(ahead < top_p - MASS_ERROR)


def _lowest_kept(row: _Array, floor: float, values: Sequence[float], limits: _Limits) -> np.float64:
    """The lowest log-prob that is kept, found exactly; at least `floor`, below which nothing matters."""
    top_k, top_p, min_p = limits
    lowest, mass = floor, 1.0
    if top_k:
        kth = values[min(top_k, len(values)) - 1]
        mass = float(np.exp(row[row >= np.float64(kth)].astype(np.float64)).sum())
        lowest = max(lowest, kth)
    if top_p < 1:
        falling = -np.sort(-row[row >= np.float64(lowest)])
        so_far = np.exp(falling.astype(np.float64)).cumsum()
        last = min(int(np.searchsorted(so_far, top_p * mass)), len(falling) - 1)
        lowest = max(lowest, float(falling[last]))
    if min_p:
        lowest = max(lowest, values[0] + math.log(min_p))
    return np.float64(lowest)  # numpy would round a plain float to the row's float32 before it compares


def _warp_rows(scaled: Tensor, limits: Sequence[_Limits], count: int) -> Tensor:
    values, _, kept, open_rows = _likeliest_kept(scaled, limits, count)
    lowest = scaled.new_tensor([row[n - 1] for row, n in zip(values, kept, strict=True)]).unsqueeze(1)
    warped = scaled.masked_fill(scaled < lowest, -torch.inf)
    if open_rows:
        rest_limits = [limits[i] for i in open_rows]
        warped[open_rows] = _warp_rows(scaled[open_rows], rest_limits, NEXT_LOOK * count)
    return warped


def _likeliest_kept(
    scaled: Tensor, limits: Sequence[_Limits], count: int
) -> tuple[list[list[float]], list[list[int]], list[int], list[int]]:
    """The `count` likeliest tokens of every row and how many of them are kept, as Python lists.

    Returns the log-probs and ids of each row, how many of them are kept, and the rows whose kept set may
    extend beyond these tokens. Sorting whole vocabularies would dominate the cost of sampling.
    """
    vocab = scaled.shape[1]
    # One more than top-k, to detect ties.
    count = min(vocab, max(count, 1 + max(top_k for top_k, _, _ in limits)))
    values, ids = _read_likeliest(scaled, count)
    kept = [_kept(row, *limit) for row, limit in zip(values, limits, strict=True)]
    open_rows = [i for i, n in enumerate(kept) if n == count < vocab]
    return values, ids, kept, open_rows


def _read_likeliest(scaled: Tensor, count: int) -> tuple[list[list[float]], list[list[int]]]:
    """The `count` highest log-probs of each row, descending, and their ids, read in one go."""
    # float32 represents ids up to 16 million exactly.
    table = torch.cat(likeliest(scaled, count), 1).tolist()
    return [line[:count] for line in table], [list(map(int, line[count:])) for line in table]


def _kept(values: Sequence[float], top_k: int, top_p: float, min_p: float) -> int:
    """How many of a row's highest log-probs, in descending order, are kept, including ties with the last one.

    The count is final only if it is less than len(values). Plain Python, because few are kept as a rule and a
    dozen numpy calls are slow after a forward has filled the processor's caches.
    """
    lowest, mass = -math.inf, 1.0
    if top_k:
        lowest = values[min(top_k, len(values)) - 1]
        mass = sum(math.exp(value) for value in values if value >= lowest)  # top-p applies after top-k
    if top_p < 1:
        so_far, last = 0.0, lowest
        for last in values:
            so_far += math.exp(last)
            if so_far >= top_p * mass:
                break
        lowest = max(lowest, last)
    if min_p:
        lowest = max(lowest, values[0] + math.log(min_p))
    return max(1, bisect_right(values, -lowest, key=neg))


def _temper(logprobs: Tensor, temperature: Tensor) -> Tensor:
    """Normalised log-probs at the given temperatures (rows,)."""
    return torch.log_softmax(logprobs / temperature.unsqueeze(1), dim=-1)


def _temperatures(logprobs: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    return torch.tensor([s.temperature for s in samplings], device=logprobs.device)  # (rows,)


@lru_cache(maxsize=8)
def _vocabulary_steps(vocab: int) -> _Array:
    return _steps(np.arange(vocab))  # (vocab,)


def _steps(ids: _Array) -> _Array:
    """The offset that each token id adds to a row's key, as uint64 of the same shape."""
    return (ids.astype(np.uint64) + 1) * _GOLDEN


def _noise(keys: Sequence[int], steps: _Array) -> _Array:
    """float32 Gumbel noise (rows, n) from one key per row and the steps (rows, n) or (n,) of the tokens."""
    return _gumbel_of(_hash(keys, steps))


def _hash(keys: Sequence[int], steps: _Array) -> _Array:
    """uint64 hashes (rows, n); the lower the hash, the higher the noise."""
    bits = np.array(keys, dtype=np.uint64)[:, None] + steps  # (rows, n)
    bits ^= bits >> 30  # the finaliser of splitmix64
    bits *= _MULTIPLIER_1
    bits ^= bits >> 27
    bits *= _MULTIPLIER_2
    bits ^= bits >> 31
    return bits


def _gumbel_of(bits: _Array) -> _Array:
    """float32 Gumbel noise of hashes.

    The hashed bits are read as a fraction u of 1. -log1p(-u) is exponential noise with full precision near 0,
    where the winners are. The clip keeps both logarithms finite.
    """
    u = bits.astype(np.float32)
    u *= np.float32(-(2.0**-64))
    np.clip(u, np.float32(2.0**-24 - 1), np.float32(-(2.0**-64)), out=u)
    np.log1p(u, out=u)
    np.negative(u, out=u)
    np.log(u, out=u)
    return np.negative(u, out=u)


def _row_key(seed: int, position: int) -> int:
    """One 64-bit key per (seed, position), hashed twice so that neighbouring seeds and positions differ."""
    return _splitmix((_splitmix(seed) + position * _GOLDEN) & _MASK)


def _splitmix(x: int) -> int:
    x = (x + _GOLDEN) & _MASK
    x = ((x ^ (x >> 30)) * _MULTIPLIER_1) & _MASK
    x = ((x ^ (x >> 27)) * _MULTIPLIER_2) & _MASK
    return x ^ (x >> 31)
