"""Measured costs in seconds, by kind of work and number of tokens.

Knows seconds and counts; does not know what was measured.
"""

FORGET = 1.01  # growth of the minimum per measurement, so a machine that slowed down shows after about 100
FOLLOW = 0.1  # weight of each measurement in the moving average


def follow(usual: float, measured: float) -> float:
    """The moving average after one more measurement; 0 stands for none so far."""
    return usual + FOLLOW * (measured - usual) if usual else measured


class Costs:
    """Seconds by (kind, tokens): the least and the usual.

    The least is a slowly rising minimum, because other load on the machine can only add time. The usual is a
    moving average.
    """

    def __init__(self) -> None:
        self._known: dict[object, dict[int, tuple[float, float]]] = {}

    def add(self, kind: object, tokens: int, seconds: float) -> None:
        """Record that work of this kind took `seconds` for `tokens` tokens."""
        known = self._known.setdefault(kind, {})
        least, usual = known.get(tokens, (seconds, 0.0))
        known[tokens] = min(seconds, least * FORGET), follow(usual, seconds)

    def least(self, kind: object, tokens: int) -> float | None:
        """The least seconds for this many tokens: measured, or interpolated between the nearest counts.

        None if nothing of this kind was measured. Beyond the measured counts the value stays flat: a guess
        that is too low gets corrected once it is tried.
        """
        return self._between(kind, tokens, 0)

    def usual(self, kind: object, tokens: int) -> float | None:
        """The usual seconds for this many tokens, found in the same way."""
        return self._between(kind, tokens, 1)

    def _between(self, kind: object, tokens: int, which: int) -> float | None:
        known = self._known.get(kind)
        if not known:
            return None
        below = max((n for n in known if n <= tokens), default=min(known))
        above = min((n for n in known if n >= tokens), default=below)
        if above <= below:
            return known[below][which]
        low, high = known[below][which], known[above][which]
        return low + (tokens - below) / (above - below) * (high - low)
