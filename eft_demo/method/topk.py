"""Fast top-k and rank over wide rows.

A vocabulary has up to 150,000 tokens, and finding the best ones must not cost more than the model, so each
function is written in the way that measured fastest. Knows tensors; knows nothing of tokens.
"""

import torch
from torch import Tensor

BLOCK = 32
FEW = 16  # blocks per value looked for


def likeliest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest values of each row of (rows, width), descending, and their indices: (rows, count).

    Among equal values any may be left out. The same as `topk`, which visits every value: here a vectorised
    pass finds the maximum of each block of 32, and `topk` only sees the best blocks. With 130,000 values this
    is six times as fast; for narrow rows plain `topk` is faster.
    """
    return _likeliest(values, _block_maxima(values, count), count)


def likeliest_and_first(values: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `likeliest` and `first_highest` return, with one pass for both."""
    maxima = _block_maxima(values, count)
    return (*_likeliest(values, maxima, count), _first_highest(values, maxima))


def first_highest(values: Tensor) -> Tensor:
    """The index of each row's maximum, the first on ties: (rows, width) -> (rows,)."""
    return _first_highest(values, _block_maxima(values, 1))


def _likeliest(values: Tensor, maxima: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
    if maxima is None:
        top = values.topk(count)
        return top.values, top.indices
    best = maxima.topk(count, sorted=False).indices  # the highest values are all in these blocks
    places = _places_in(best, values.shape[1])
    top = values.gather(1, places).topk(count)
    return top.values, places.gather(1, top.indices)


def _first_highest(values: Tensor, maxima: Tensor | None) -> Tensor:
    if maxima is None:
        return values.max(1).indices  # the same as argmax, in half the time
    places = _places_in(maxima.max(1, keepdim=True).indices, values.shape[1])
    return places.gather(1, values.gather(1, places).max(1, keepdim=True).indices).squeeze(1)


def _block_maxima(values: Tensor, count: int) -> Tensor | None:
    """The maximum of each whole block of a row: (rows, width) -> (rows, blocks). None if there are few."""
    blocks = values.shape[1] // BLOCK
    if blocks < FEW * count:
        return None
    maxima: Tensor = values[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK)).amax(2)
    return maxima


def _places_in(blocks: Tensor, width: int) -> Tensor:
    """The indices of all values in these blocks (rows, n), and of those after the last whole block."""
    places = (blocks.unsqueeze(2) * BLOCK + torch.arange(BLOCK, device=blocks.device)).flatten(1)
    if whole := width % BLOCK:
        rest = torch.arange(width - whole, width, device=blocks.device)
        places = torch.cat([places, rest.expand(len(blocks), -1)], 1)
    return places


def rank(values: Tensor, places: Tensor) -> Tensor:
    """The 1-based rank (rows,) of the value at `places` in each row: 1 + the number of higher values."""
    chosen = values.gather(1, places.unsqueeze(1))
    # Summing ones and zeros stored as floats is nine times as fast as summing bools.
    higher = torch.gt(values, chosen, out=torch.empty_like(values))
    return higher.sum(1).long() + 1
