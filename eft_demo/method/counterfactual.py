"""The counterfactual: which token other weights would have drawn in place of a recorded one.

Log-probs of whole vocabularies in, token ids out. The same mixing and the same noise as when the text was
written, so the answer is exact, not estimated. Knows no models, roles or text.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from eft_demo.method.mixing import mix
from eft_demo.method.sampling import Sampling, sample
from eft_demo.method.weight_filter import WeightFilter


def choices_at(
    anchor: Tensor,
    deltas: Tensor,
    coefficients: Tensor,
    filters: Sequence[WeightFilter],
    samplings: Sequence[Sampling],
    positions: Sequence[int],
) -> Tensor:
    """The ids (rows, values) that each row would draw at each of its coefficients (rows, values, terms).

    Row i has its anchor's log-probs (vocab,), finite deltas (terms, vocab), a weight filter, its sampling and
    a position, which keys its noise. Raises NumericalError if a row overflows float32.
    """
    rows, values = coefficients.shape[:2]
    ids = torch.empty(rows, values, dtype=torch.long)
    for k in range(values):  # one at a time: all together would hold `values` vocabularies per row
        mixed = mix(anchor, deltas, coefficients[:, k], filters)
        ids[:, k] = sample(mixed.logprobs, samplings, positions).cpu()
    return ids
