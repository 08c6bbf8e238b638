"""The certificate: whether a drawn token is certain although a server sent only a row's likeliest log-probs.

    known tokens     their mixed log-prob is exact, but for the row's log Z
    hidden tokens    theirs is at most a ceiling: to the server, none is likelier than the last one sent

A token is certain if it is known, is kept by top-k, top-p and min-p whatever the hidden tokens are, and has a
higher score (log-prob + noise) than any other token that may be kept. Otherwise the verdict lists the hidden
tokens whose log-probs would settle it. Log-probs of one row in, verdicts out; knows no servers and no roles.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eft_demo.method.sampling import Sampling, gumbel

# More than float32 rounding can change a log-prob, in nats, and a sum of probabilities, as a share of it.
ROUNDING_NATS = 1e-4
ROUNDING_SHARE = 1e-5


@dataclass(frozen=True, slots=True)
class CutRow:
    """One row of mixed log-probs in nats, up to a constant, of which a server sent only the likeliest.

    `room` bounds the probability that is left for hidden tokens: it suffices for so many of them at their
    ceilings (above 0; inf: no bound). `weight` is that of the server's model in the mix, greater than 0.
    """

    mixed: Tensor  # (vocab,) exact where known
    ceiling: Tensor  # (vocab,) nowhere lower than the true value
    known: Tensor  # (vocab,) bool
    room: float
    weight: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a token is certain; if not, the hidden tokens that would settle it, the most useful first."""

    is_certain: bool
    doubtful: tuple[int, ...] = ()


CERTAIN = Verdict(True)


def check_draw(row: CutRow, sampling: Sampling, position: int, token: int) -> Verdict:
    """Whether `token`, drawn at `position`, is what the row with all its log-probs would give.

    An added warper may look at anything, so with one a row with hidden tokens gives no certainty.
    """
    hidden_ids = (~row.known).nonzero().flatten()
    if not len(hidden_ids):
        return CERTAIN
    if sampling.active_warpers:
        return Verdict(False)
    temperature = 1.0 if sampling.is_greedy else sampling.temperature
    known = row.mixed[row.known].double() / temperature
    ceilings = row.ceiling[hidden_ids].double() / temperature + ROUNDING_NATS
    bounds = _Bounds(known.sort(descending=True).values, ceilings, row.room, row.weight / temperature)
    noise = torch.zeros_like(row.mixed, dtype=torch.double)
    lowest = -math.inf  # of what may be kept
    if not sampling.is_greedy:
        noise += gumbel([sampling.seed], [position], len(noise))[0]
        lowest = bounds.lowest_kept(sampling)
    scores = known + noise[row.known]
    may_win = scores[known >= lowest]
    is_known = bool(row.known[token])
    value = float(row.mixed[token]) / temperature
    score = value + float(noise[token]) if is_known else _highest(may_win)
    reach = ceilings + noise[hidden_ids]
    rivals = (ceilings >= lowest) & (reach >= score)
    is_kept = is_known and (sampling.is_greedy or bounds.surely_keeps(value, sampling))
    # A known token with a higher score was left out for the mass of hidden ones, which is in doubt.
    is_settled = is_kept and not bool((may_win > score + ROUNDING_NATS).any())
    if is_settled and not rivals.any():
        return CERTAIN
    doubtful = hidden_ids[rivals][reach[rivals].argsort(descending=True)].tolist()
    if is_known and not is_settled:
        doubtful += hidden_ids[ceilings.argsort(descending=True)].tolist()
    first = [] if is_known else [token]
    return Verdict(False, tuple(dict.fromkeys([*first, *doubtful])))


def log_z_error_nats(row: CutRow) -> float:
    """How much greater the row's log Z may be than that of its known tokens alone, in nats."""
    known = row.mixed[row.known].double()
    ceilings = row.ceiling[~row.known].double()
    hidden = _most_mass(ceilings, row.room, row.weight)
    return math.log1p(math.exp(hidden - float(known.logsumexp(0)))) if len(known) else math.inf


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Known log-probs, descending, and the ceilings of hidden ones, at the sampling temperature."""

    known: Tensor
    ceilings: Tensor
    room: float
    exponent: float  # of the server's probabilities

    def lowest_kept(self, sampling: Sampling) -> float:
        """The log-prob below which no token is kept, whatever the hidden ones are."""
        lowest = -math.inf
        if 0 < sampling.top_k <= len(self.known):
            lowest = float(self.known[sampling.top_k - 1])
        if sampling.top_p < 1:
            enough = math.log(sampling.top_p) + self._log_mass(sampling.top_k, at_most=True)
            reached = (self.known.logcumsumexp(0) >= enough + ROUNDING_SHARE).nonzero()
            lowest = max(lowest, float(self.known[reached[0]]) if len(reached) else -math.inf)
        if sampling.min_p:
            lowest = max(lowest, float(self.known[0]) + math.log(sampling.min_p))
        return lowest - ROUNDING_NATS

    def surely_keeps(self, value: float, sampling: Sampling) -> bool:
        """Whether a known token of this log-prob is kept, whatever the hidden ones are."""
        ahead, hidden_ahead = self.known[self.known > value], self.ceilings[self.ceilings >= value]
        if sampling.top_k and len(ahead) + len(hidden_ahead) >= sampling.top_k:
            return False
        highest = float(torch.cat([self.known[:1], self.ceilings.max(0, keepdim=True).values]).max())
        if sampling.min_p and value < highest + math.log(sampling.min_p) + ROUNDING_NATS:
            return False
        if sampling.top_p == 1:
            return True
        most = _log_add(
            float(ahead.logsumexp(0)) if len(ahead) else -math.inf,
            _most_mass(hidden_ahead, self.room, self.exponent),
        )
        return (
            most < math.log(sampling.top_p) + self._log_mass(sampling.top_k, at_most=False) - ROUNDING_SHARE
        )

    def _log_mass(self, top_k: int, *, at_most: bool) -> float:
        """The log of the mass to which top-p applies: that of all tokens, or of those that top-k leaves."""
        if not at_most:
            return float((self.known[:top_k] if top_k else self.known).logsumexp(0))
        everything = _log_add(
            float(self.known.logsumexp(0)), _most_mass(self.ceilings, self.room, self.exponent)
        )
        together = torch.cat([self.known, self.ceilings])
        if not 0 < top_k < len(together):
            return everything
        kth = together.topk(top_k).values[-1]
        return min(everything, float(together[together >= kth].logsumexp(0)))


def _most_mass(ceilings: Tensor, room: float, exponent: float) -> float:
    """The log of the greatest mass that tokens with these ceilings can have together.

    The server's probabilities x of these tokens are at most c each and `room` * c together; in the mix a
    token has the mass exp(its ceiling) * (x / c)**exponent. For an exponent of at least 1 their sum is
    greatest if as many tokens as possible are at their ceilings, the highest ones first. For a smaller one
    Hoelder's inequality bounds it.
    """
    total = float(ceilings.logsumexp(0)) if len(ceilings) else -math.inf
    if room >= len(ceilings):
        return total
    if exponent >= 1:
        highest = ceilings.topk(math.ceil(room)).values.clone()
        if room % 1:
            highest[-1] += math.log(room % 1)
        return float(highest.logsumexp(0)) if len(highest) else -math.inf
    spread = 1 - exponent
    bound = (
        spread * float((ceilings / spread).logsumexp(0)) + exponent * math.log(room) if room else -math.inf
    )
    return min(total, bound)


def _log_add(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return high + math.log1p(math.exp(low - high)) if high > -math.inf else high


def _highest(values: Tensor) -> float:
    return float(values.max()) if len(values) else -math.inf
