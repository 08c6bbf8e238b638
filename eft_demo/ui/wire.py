"""Engine events -> NDJSON lines for the page.

One string per run carries every panel and only ever grows, so Gradio sends each update as a short appended
piece. Knows the wire format and token texts; knows nothing of Gradio, colours or how a line is drawn. Every
line is plain ASCII with `<` escaped: nothing that a model or a person says can look like markup on the way.

    {"k":"page", ...}     once per page: behaviours, examples, limits, chips
    {"k":"run", "id", "n", "prompt", "panels":[{"name","kind","recipe","roles"}], "account", "figure"}
    {"k":"t", "p":panel, "i":token id, "s":text, "l":axis label, "y":[anchor, terms..., normaliser, final],
              "e":entropy, "r":rank, "b":the anchor's own first choice, "a":alpha, "z":1 if it ends the text,
              "c":[[id, mix, one per role...]...], "x":sentence, "ms":since Run, "w"}
    {"k":"end", "p", "why":finish_reason, "error", "s":rest of the text, "ttft_ms", "tps"}
    {"k":"rows", "active", "of", "waiting"}   at least once a second, so that silence means a lost server
    {"k":"error", "where":field, "text"}      instead of, or after, anything else
    {"k":"done"}

"w" maps token ids to labels, each sent once per run. Log-probs are nats; null means minus infinity.
"""

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from eft_demo.engine.events import EndEvent, Event, TokenEvent
from eft_demo.families.text import END_LABEL, token_label
from eft_demo.plots import contribution_figure, contribution_point, tick_label
from eft_demo.recipe import Recipe
from eft_demo.trace import Candidate, TokenRecord
from eft_demo.ui.sentences import explain, telling_rival

# The figure's colours are the page's own, resolved in the browser, so it follows dark and light.
PAGE_PALETTE = {
    name: f"var(--{name})" for name in ("base", "tuned", "up", "rest", "ink", "soft", "line", "card")
}
MAX_LISTED = 8  # what the card shows without scrolling


def line(kind: str, **fields: object) -> str:
    """One NDJSON line. `fields` must be finite; `nats` makes log-probs so."""
    text = json.dumps({"k": kind, **fields}, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c") + "\n"


def error_line(where: str, text: str) -> str:
    """A sentence for the place `where`: prompt, alpha, behaviour, or one of the sampling fields."""
    return line("error", where=where, text=text)


def nats(value: float, digits: int = 2) -> float | None:
    """A log-prob short enough for the wire; None for minus infinity."""
    return round(value, digits) if math.isfinite(value) else None


@dataclass(slots=True)
class Encoder:
    """One run's stream: which labels, and how much of each panel's text, the page already has."""

    recipes: Sequence[tuple[str, Recipe]]
    token_bytes: Sequence[bytes]
    stop_ids: Collection[int]
    sent: set[int] = field(default_factory=set)
    chars: dict[int, int] = field(default_factory=dict)

    def run_line(self, run_id: str, nonce: int, prompt: str) -> str:
        """The first line of a run: what the columns are and the empty contribution figure."""
        account = account_panel([recipe for _, recipe in self.recipes])
        figure = (
            None if account is None else contribution_figure(self.recipes[account][1], palette=PAGE_PALETTE)
        )
        panels = [
            {"name": name, "kind": panel_kind(recipe), "recipe": recipe_text(recipe), "roles": recipe.roles}
            for name, recipe in self.recipes
        ]
        return line("run", id=run_id, n=nonce, prompt=prompt, panels=panels, account=account, figure=figure)

    def event_line(self, event: Event) -> str:
        """A token or the end of a panel."""
        if isinstance(event, EndEvent):
            return end_line(event, self.chars.get(event.panel, 0))
        self.chars[event.panel] = self.chars.get(event.panel, 0) + len(event.text)
        return self.token_line(event)

    def token_line(self, event: TokenEvent) -> str:
        record, recipe = event.record, self.recipes[event.panel][1]
        extra: dict[str, object] = {}
        shown = shown_candidates(recipe, record)
        if new := self._new_labels({record.id, record.base_first, *(c.id for c in shown)}):
            extra["w"] = new
        if recipe.controls and "alpha" in record.controls:
            extra["a"] = round(record.controls["alpha"], 3)
        if record.id in self.stop_ids:
            extra["z"] = 1
        return line(
            "t",
            p=event.panel,
            i=record.id,
            s=event.text,
            y=contribution_point(record),
            e=nats(record.entropy_nats, 3),
            r=record.rank,
            b=record.base_first,
            c=[_candidate_row(candidate, recipe.roles) for candidate in shown],
            x=explain(recipe, record, self.label),
            ms=round(event.elapsed_s * 1000),
            l=tick_label(event.text or self.label(record.id)),
            **extra,
        )

    def label(self, token_id: int) -> str:
        return END_LABEL if token_id in self.stop_ids else token_label(self.token_bytes[token_id])

    def _new_labels(self, ids: set[int]) -> dict[int, str]:
        new = ids - self.sent
        self.sent |= new
        return {token_id: self.label(token_id) for token_id in sorted(new)}


def end_line(event: EndEvent, chars_sent: int = 0) -> str:
    """How a panel ended, with the rest of its text. A speed that was never measured is left out."""
    speeds = {"ttft_ms": event.ttft_s * 1000, "tps": event.tokens_per_s}
    known = {name: round(v, 1) for name, v in speeds.items() if v is not None and math.isfinite(v) and v > 0}
    return line(
        "end", p=event.panel, why=event.finish_reason, error=event.error, s=event.text[chars_sent:], **known
    )


def panel_kind(recipe: Recipe) -> str:
    """Which of three looks a column gets: a live recipe is up, a plain base base, everything else tuned."""
    if recipe.controls:
        return "up"
    return "base" if not recipe.terms and recipe.anchor.endswith("base") else "tuned"


def recipe_text(recipe: Recipe) -> str:
    """A recipe as a column shows it; `small_base + (pirate - small_base)` is simply `pirate`."""
    whole = len(recipe.terms) == 1 and recipe.terms[0].weight == 1 and recipe.terms[0].minus == recipe.anchor
    return recipe.terms[0].plus if whole else str(recipe)


def account_panel(recipes: Sequence[Recipe]) -> int | None:
    """The panel whose contributions are plotted: the last one that a slider steers."""
    steered = [index for index, recipe in enumerate(recipes) if recipe.controls]
    return steered[-1] if steered else None


def shown_candidates(recipe: Recipe, record: TokenRecord) -> list[Candidate]:
    """What the card lists, likeliest first: the token, its rival, and whatever any model thinks likely."""
    rival = telling_rival(recipe, record)
    kept = {record.id, record.base_first, *([rival.id] if rival else [])}

    def worth(candidate: Candidate) -> tuple[bool, float]:
        return candidate.id in kept, max(candidate.logprob, *candidate.by_role.values())

    listed = sorted(record.candidates, key=worth, reverse=True)[:MAX_LISTED]
    return sorted(listed, key=lambda candidate: -candidate.logprob)


def _candidate_row(candidate: Candidate, roles: Sequence[str]) -> list[float | int | None]:
    return [candidate.id, nats(candidate.logprob), *(nats(candidate.by_role[role]) for role in roles)]
