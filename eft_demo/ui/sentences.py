"""What the numbers of one token mean, in a sentence.

Knows log-probs and recipes. A sentence is a list of strings, plain and token text in turn (the odd ones are
tokens), so that the page can set tokens in bold without ever parsing text.
"""

import math
from collections.abc import Callable, Mapping

from eft_demo.mixing import flip_alpha
from eft_demo.plots import role_name
from eft_demo.recipe import Recipe
from eft_demo.settings import ALPHA
from eft_demo.trace import Candidate, TokenRecord

NOTHING_NATS = 0.05  # below this a difference is not worth a clause


def explain(recipe: Recipe, record: TokenRecord, label: Callable[[int], str]) -> list[str]:
    """Who decided this token against its strongest rival. Empty if no rival is listed."""
    chosen = next((c for c in record.candidates if c.id == record.id), None)
    rival = _rival(record)
    if chosen is None or rival is None:
        return []
    if not recipe.terms:
        return _alone(recipe, record, chosen, rival, label)
    lead = chosen.by_role[recipe.anchor] - rival.by_role[recipe.anchor]
    push = _tuning(recipe, record.controls, chosen) - _tuning(recipe, record.controls, rival)
    if not (math.isfinite(lead) and math.isfinite(push)):
        return [
            "One of the models gives ",
            label(rival.id),
            " no chance at all here, so no finite lead can be stated.",
        ]
    c, r = label(chosen.id), label(rival.id)
    verdict, flip = _verdict(recipe.anchor, lead, push, c, r), _flip(recipe, record, chosen, rival, c, r)
    return [*verdict[:-1], verdict[-1] + flip[0], *flip[1:]]


def surer(nats: float) -> str:
    """`6.2 nats (490 times)`: a log-odds and what it means."""
    times = math.exp(min(abs(nats), 14.0))
    if abs(nats) > 13.8:
        shown = "over a million times"
    elif times < 10:
        shown = f"{times:.1f} times"
    else:
        digits = 10 ** max(0, int(math.log10(times)) - 1)
        shown = f"{round(times / digits) * digits:,} times"
    return f"{abs(nats):.1f} nats ({shown})"


def _rival(record: TokenRecord) -> Candidate | None:
    """What the anchor would have said; where that is the chosen token itself, the next best of the mix."""
    others = [c for c in record.candidates if c.id != record.id]
    by_anchor = [c for c in others if c.id == record.base_first]
    return by_anchor[0] if by_anchor else max(others, key=lambda c: c.logprob, default=None)


def _tuning(recipe: Recipe, controls: Mapping[str, float], token: Candidate) -> float:
    return sum(
        weight * (token.by_role[term.plus] - token.by_role[term.minus])
        for weight, term in zip(recipe.coefficients(controls), recipe.terms, strict=True)
        if weight
    )


def _alone(
    recipe: Recipe, record: TokenRecord, chosen: Candidate, rival: Candidate, label: Callable[[int], str]
) -> list[str]:
    lead = chosen.logprob - rival.logprob
    who = f"The {role_name(recipe.anchor)} model writes this column alone. "
    if not math.isfinite(lead):
        return []
    if record.id == record.base_first:
        return [f"{who}It is {surer(lead)} surer of ", label(chosen.id), " than of ", label(rival.id), "."]
    return [
        f"{who}It was {surer(lead)} surer of ",
        label(rival.id),
        "; the dice chose ",
        label(chosen.id),
        " all the same.",
    ]


def _verdict(anchor: str, lead: float, push: float, c: str, r: str) -> list[str]:
    base = role_name(anchor)
    if lead + push < 0:
        return [
            f"The dice decided here: the mix is {surer(lead + push)} surer of ",
            r,
            ", but ",
            c,
            " stayed possible.",
        ]
    if lead >= 0 and push > NOTHING_NATS:
        return [
            f"Both agree here: the {base} is {surer(lead)} surer of ",
            c,
            " than of ",
            r,
            f", and tuning adds {push:.1f}.",
        ]
    if lead >= 0 and push < -NOTHING_NATS:
        how = f"; tuning pushes the other way by {-push:.1f}."
        return [f"The {base} decides here: it is {surer(lead)} surer of ", c, " than of ", r, how]
    if lead >= 0:
        return [
            f"The {base} decides here: it is {surer(lead)} surer of ",
            c,
            " than of ",
            r,
            "; tuning has no say.",
        ]
    return [f"Tuning decides here: the {base} alone is {surer(lead)} surer of ", r, ", and tuning adds ", f"+{push:.1f}",
            " for ", c, "."]  # fmt: skip


def _flip(
    recipe: Recipe, record: TokenRecord, chosen: Candidate, rival: Candidate, c: str, r: str
) -> list[str]:
    """The alpha at which the two would change places, where alpha is the recipe's only term."""
    if len(recipe.terms) != 1 or recipe.terms[0].weight != "alpha":
        return [""]
    term = recipe.terms[0]
    deltas = [term.scale * (t.by_role[term.plus] - t.by_role[term.minus]) for t in (chosen, rival)]
    alpha = flip_alpha(chosen.by_role[recipe.anchor], rival.by_role[recipe.anchor], *deltas)
    if alpha is None or alpha < 0:
        return [" No α would change that."]
    if alpha > 99:
        return [" No α within reach would change that."]
    beyond = ", beyond the slider's end" if alpha > ALPHA.high else ""
    side = "only from" if record.controls["alpha"] <= alpha else "below"
    liked = r if chosen.logprob >= rival.logprob else c
    return [
        " It would sooner say ",
        liked,
        f" {side} ",
        f"α = {alpha:.{1 if alpha >= 10 else 2}f}",
        f"{beyond}.",
    ]
