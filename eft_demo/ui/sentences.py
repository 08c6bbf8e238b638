"""What the numbers of one token mean, in a sentence.

Knows log-probs and recipes. A sentence is a list of strings, plain and bold in turn, so that the page can set
tokens in bold without ever parsing text.
"""

import math
import re
from collections.abc import Callable, Mapping

from eft_demo.mixing import flip_alpha
from eft_demo.plots import role_name
from eft_demo.recipe import Recipe
from eft_demo.settings import ALPHA
from eft_demo.trace import Candidate, TokenRecord

FAINT_NATS = 0.05  # below this a difference is not worth a clause
FAR_ALPHA = 99  # beyond this an alpha is no longer a number to state


def explain(recipe: Recipe, record: TokenRecord, label: Callable[[int], str]) -> list[str]:
    """Who decided this token against its most telling rival. Empty if no rival is listed."""
    chosen = next((c for c in record.candidates if c.id == record.id), None)
    rival = telling_rival(recipe, record)
    if chosen is None or rival is None:
        return []
    template, alpha = _template(recipe, record, chosen, rival)
    return _fill(template, c=label(chosen.id), r=label(rival.id), a=alpha)


def telling_rival(recipe: Recipe, record: TokenRecord) -> Candidate | None:
    """What the anchor alone would say; else what the tuned model would say; else the next best of the mix."""
    others = {c.id: c for c in record.candidates if c.id != record.id}
    if record.base_first in others:
        return others[record.base_first]
    if recipe.terms:
        tuned = recipe.terms[0].plus
        favourite = max(record.candidates, key=lambda c: c.by_role[tuned])
        if favourite.id in others:
            return favourite
    return max(others.values(), key=lambda c: c.logprob, default=None)


def surer(nats: float) -> str:
    """`6.2 nats (490 times)`: a log-odds and what it means."""
    times = math.exp(min(abs(nats), 14.0))
    if times > 1e6:
        shown = "over a million times"
    elif times < 10:
        shown = f"{times:.1f} times"
    else:
        step = 10 ** (int(math.log10(times)) - 1)  # two digits say enough
        shown = f"{round(times / step) * step:,} times"
    return f"{abs(nats):.1f} nats ({shown})"


def _template(recipe: Recipe, record: TokenRecord, chosen: Candidate, rival: Candidate) -> tuple[str, str]:
    """The sentence with {c}hosen, {r}ival and {a}lpha left open, and the text of alpha."""
    name = role_name(recipe.anchor)
    lead = chosen.by_role[recipe.anchor] - rival.by_role[recipe.anchor]
    if not recipe.terms:
        return _alone(name, lead, record.id == record.base_first), ""
    push = _tuning(recipe, record.controls, chosen) - _tuning(recipe, record.controls, rival)
    if not (math.isfinite(lead) and math.isfinite(push)):
        return (
            "One of the models gives {c} or {r} no chance at all here, so no finite lead can be stated.",
            "",
        )
    flip, alpha = _flip(recipe, record, chosen, rival)
    return _verdict(name, lead, push) + flip, alpha


def _tuning(recipe: Recipe, controls: Mapping[str, float], token: Candidate) -> float:
    """What the terms add to a token's log-prob, in nats, before normalising."""
    weights = recipe.coefficients(controls)
    return sum(
        weight * (token.by_role[term.plus] - token.by_role[term.minus])
        for weight, term in zip(weights, recipe.terms, strict=True)
        if weight
    )


def _alone(name: str, lead: float, is_first: bool) -> str:
    who = f"The {name} model writes this column alone."
    if not math.isfinite(lead):
        return f"{who} It gives {{r}} no chance here."
    if is_first:
        return f"{who} It is {surer(lead)} surer of {{c}} than of {{r}}."
    return f"{who} It was {surer(lead)} surer of {{r}}; the dice chose {{c}} all the same."


def _verdict(name: str, lead: float, push: float) -> str:
    if lead + push < 0:
        alone = f"the mix is {surer(lead + push)} surer of {{r}}"
        return f"The dice decided here: {alone}, but {{c}} stayed possible."
    if lead < 0:
        alone = f"the {name} alone is {surer(lead)} surer of {{r}}"
        return f"Tuning decides here: {alone}, and tuning adds {push:.1f} for {{c}}."
    surely = f"it is {surer(lead)} surer of {{c}} than of {{r}}"
    if push > FAINT_NATS:
        return f"Both agree here. The {name} leads: {surely}; tuning adds {push:.1f}."
    if push < -FAINT_NATS:
        return f"The {name} decides here: {surely}; tuning pushes the other way by {-push:.1f}."
    return f"The {name} decides here: {surely}; tuning has no say."


def _flip(recipe: Recipe, record: TokenRecord, chosen: Candidate, rival: Candidate) -> tuple[str, str]:
    """The alpha at which the two would change places, where alpha is the recipe's only term."""
    if len(recipe.terms) != 1 or recipe.terms[0].weight != "alpha":
        return "", ""
    term = recipe.terms[0]
    deltas = [term.scale * (t.by_role[term.plus] - t.by_role[term.minus]) for t in (chosen, rival)]
    alpha = flip_alpha(chosen.by_role[recipe.anchor], rival.by_role[recipe.anchor], *deltas)
    if alpha is None or not 0 <= alpha <= FAR_ALPHA:
        return " No α would change that.", ""
    side = "only from" if record.controls["alpha"] <= alpha else "below"
    other = "{r}" if chosen.logprob >= rival.logprob else "{c}"
    beyond = ", beyond the slider's end" if alpha > ALPHA.high else ""
    shown = f"α\u00a0=\u00a0{alpha:.1f}" if alpha >= 10 else f"α\u00a0=\u00a0{alpha:.2f}"
    return f" It would sooner say {other} {side} {{a}}{beyond}.", shown


def _fill(template: str, **bold: str) -> list[str]:
    """Plain and bold pieces in turn. Only the template is parsed, never what is filled in."""
    pieces = re.split(r"\{(\w)\}", template)
    return [bold[piece] if i % 2 else piece for i, piece in enumerate(pieces)]
