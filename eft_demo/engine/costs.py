"""What things took, by kind and by the number of tokens: measured all along, asked for before a choice.

Knows seconds and counts; does not know of what.
"""

FORGET = 1.01  # per measurement; a machine that became slower shows after some hundred
FOLLOW = 0.1  # of each measurement in the usual time


class Costs:
    """Seconds by (kind, tokens): the least, slowly forgotten, because what else runs here only adds to it;
    and the usual, a moving average.
    """

    def __init__(self) -> None:
        self._known: dict[object, dict[int, tuple[float, float]]] = {}

    def add(self, kind: object, tokens: int, seconds: float) -> None:
        """`seconds` were measured for so many tokens."""
        known = self._known.setdefault(kind, {})
        least, usual = known.get(tokens, (seconds, seconds))
        known[tokens] = min(seconds, least * FORGET), usual + FOLLOW * (seconds - usual)

    def least(self, kind: object, tokens: int) -> float | None:
        """The least seconds for so many tokens: measured, or between the next counts that were.

        None if nothing of the kind was measured. Beyond the counts that were, it stays flat: a guess too good
        is found out by trying.
        """
        return self._between(kind, tokens, 0)

    def usual(self, kind: object, tokens: int) -> float | None:
        """The usual seconds for so many tokens, found in the same way."""
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
