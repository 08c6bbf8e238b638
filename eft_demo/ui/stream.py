"""The wire format: engine events as NDJSON lines for the page.

One string per run carries all columns and only ever grows, so Gradio sends each update as a short appended
piece. Knows the wire format and token texts; knows nothing of Gradio, colours or drawing. Every line is plain
ASCII with `<` escaped, so that no text from a model or a person can look like markup.

    {"k":"page", ...}     once per page: behaviours, examples, limits, chips
    {"k":"run", "id", "n", "prompt", "attributed":the column to plot first, "layout":of the plot,
                "sampling", "unreplayed":[names of active warpers that the page cannot compute...],
                "filter", "factors":of the schedule, the last one repeats,
                "columns":[{"name", "kind", "recipe", "about", "roles", "bars":empty traces of the plot,
                           "drafter":role that drafts, if anything was drafted,
                           "terms":[[scale, control or null, plus, minus]...], both places in "roles"}],
                 "system" and "turns":[{"question", "answers"}...] where there are any,
                 "record":{family, schedule, speculation, made_with} as a trace has them, to be posted back,
                 and of an opened run "givens":number of forced tokens per column, "seeds":one per column
                 (both only where a column has its own), "reshown":roles whose prompt format differed from
                 the family's, and "notes":sentences about the file,
                 and of a branch "of":the id of its parent, "given":number of forced tokens,
                 "copied":[columns that are unchanged; their tokens are not sent]}
    {"k":"t", "p":column, "i":token id, "s":text, "y":[anchor, terms..., normaliser, final], "e":entropy,
              "c":[[id, mix, one per role...]...], "ms":since Run, and where it applies
              "r":rank unless 1, "q":[rank per role] unless all are 1 (-5: at least 5),
              "b":the anchor's own first choice if another, "z":1 if it ends the text,
              "v":{control: effective value} if it changed, "d":[drafted token, overlap], "w",
              "u":[1 if certain, log-probs sent, asked for, hidden probability, nats it may be off]}
    {"k":"end", "p", "why":finish_reason, "error", "s":rest of the text, "ttft_ms", "tps", "acc", "speedup",
                "reused":[tokens of the prompt that were not read again, all of them] if there were any}
    {"k":"reading", "done", "of"}   tokens of the prompt, over all models; once a second until the first token
    {"k":"load", "active", "of", "waiting"}   at least once a second, so silence means a lost server
                 and of a run that waits for a turn its "place" in the queue and, if known, "wait_s",
                 and of one that waits for a model's server "late":[the model's role, seconds]
    {"k":"error", "where":field, "text"}      instead of, or after, anything else
    {"k":"done"}

"w" maps token ids to labels, each sent once per run, or to [label, bytes in hex] where the label cannot show
the bytes. Log-probs are in nats; null means minus infinity. What the page can derive from the numbers, such
as sentences and axis labels, is not sent.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType

from eft_demo.engine.attribution import ROLE_CANDIDATES
from eft_demo.engine.speculate import default_drafter
from eft_demo.figures.contributions import LIGHT, contribution_figure, contribution_point
from eft_demo.method.mixing import SUPPORT_DELTA_NATS
from eft_demo.method.recipe import Recipe
from eft_demo.method.sampling import GREEDY_BELOW
from eft_demo.method.schedule import Schedule
from eft_demo.runs.conversation import as_json
from eft_demo.runs.events import EndEvent, Event, TokenEvent
from eft_demo.runs.replay import replay
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.text import END_LABEL, token_label
from eft_demo.runs.trace import Candidate, RunTrace, TokenRecord, seed_of
from eft_demo.settings import ALPHA
from eft_demo.ui.column_headers import column_head

# The figures' colours are the page's own, resolved in the browser, so they follow dark and light.
PAGE_PALETTE = {name: f"var(--{name})" for name in LIGHT}
SCORED = "Scores a given text"  # in place of what the recipe does: it did not write the text
MAX_LISTED = 10  # candidates sent with a token, for the card and for counterfactuals


def line(kind: str, **fields: object) -> str:
    """One NDJSON line. `fields` must be finite; `nats` converts log-probs."""
    text = json.dumps({"k": kind, **fields}, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c") + "\n"


def error_line(where: str, text: str) -> str:
    """An error message for the place `where`: prompt, alpha, behaviour, or one of the sampling fields."""
    return line("error", where=where, text=text)


def nats(value: float, digits: int = 3) -> float | None:
    """A log-prob rounded for the wire; None for minus infinity."""
    return round(value, digits) if math.isfinite(value) else None


def rules(allow_negative_alpha: bool = False) -> dict[str, float]:
    """The constants that the page shares with Python, for its first line and for a saved page."""
    return {
        "lowest": -ALPHA.high if allow_negative_alpha else ALPHA.low,
        "highest": ALPHA.high,
        "support_nats": SUPPORT_DELTA_NATS,
        "greedy_below": GREEDY_BELOW,
    }


def trace_lines(
    trace: RunTrace,
    run_id: str = "",
    origin: Mapping[str, object] = MappingProxyType({}),
    captions: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """All lines of a run, as a live page would have received them, with the `ms` of its tokens.

    `captions` are those of the run's family, where it is known.
    """
    played = replay(trace)
    scored = [p for p, column in enumerate(trace.columns) if column.is_scored]
    encoder = Encoder(trace.spec, played.pieces, played.stop_ids, captions, scored)
    if any(givens := [column.given for column in trace.columns]):
        origin = {**origin, "givens": givens}
    if any(column.seed is not None for column in trace.columns):
        origin = {**origin, "seeds": [seed_of(column, trace.spec) for column in trace.columns]}
    return [encoder.run_line(run_id, 0, origin), *map(encoder.event_line, played.events)]


@dataclass(slots=True)
class Encoder:
    """One run's stream. Tracks which labels and how much of each text the page already has."""

    spec: RunSpec
    token_bytes: Sequence[bytes] | Mapping[int, bytes]
    stop_ids: Collection[int]
    captions: Mapping[str, str] = field(default_factory=dict)  # of the family
    scored: Collection[int] = ()  # columns that did not write their text
    sent: set[int] = field(default_factory=set)
    chars: dict[int, int] = field(default_factory=dict)
    values: dict[int, dict[str, float]] = field(default_factory=dict)

    def run_line(self, run_id: str, nonce: int, origin: Mapping[str, object] = MappingProxyType({})) -> str:
        """The first line of a run: its columns, their sampling and empty attribution figures."""
        spec = self.spec
        recipes = [recipe for _, recipe in spec.columns]
        figures = [contribution_figure(recipe, palette=PAGE_PALETTE) for recipe in recipes]
        columns = [
            {
                **column_head(name, recipe, self.captions),
                **({"about": SCORED} if p in self.scored else {}),
                "roles": recipe.roles,
                "terms": _terms(recipe),
                "drafter": default_drafter(recipe),
                "bars": figure["data"],
            }
            for p, ((name, recipe), figure) in enumerate(zip(spec.columns, figures, strict=True))
        ]
        return line(
            "run",
            id=run_id,
            n=nonce,
            prompt=spec.prompt,
            **({"system": spec.system} if spec.system else {}),
            **({"turns": as_json(spec.turns)} if spec.turns else {}),
            columns=columns,
            attributed=plotted_column(recipes),
            layout=figures[0]["layout"],
            sampling=asdict(spec.sampling),
            unreplayed=[warper.limits.name for warper in spec.sampling.active_warpers],
            filter=asdict(spec.weight_filter),
            factors=_factors(spec.schedule),
            **origin,
        )

    def event_line(self, event: Event) -> str:
        """A token or the end of a column."""
        if isinstance(event, EndEvent):
            return end_line(event, self.chars.get(event.column, 0))
        self.chars[event.column] = self.chars.get(event.column, 0) + len(event.text)
        return self.token_line(event)

    def token_line(self, event: TokenEvent) -> str:
        """A token with its record and the labels that the page does not have yet."""
        record, recipe = event.record, self.spec.columns[event.column][1]
        roles = recipe.roles
        shown = shown_candidates(recipe, record)
        extra = self._special(event.column, record)
        ranks = role_ranks(roles, record)
        if set(ranks) != {1}:
            extra["q"] = ranks
        drafted = {record.draft.id} if record.draft else set()
        if new := self._new_labels({record.id, record.base_first, *drafted, *(c.id for c in shown)}):
            extra["w"] = new
        return line(
            "t",
            p=event.column,
            i=record.id,
            s=event.text,
            y=contribution_point(record),
            e=nats(record.entropy_nats),
            c=[_candidate_row(candidate, roles) for candidate in shown],
            ms=round(event.elapsed_s * 1000),
            **extra,
        )

    def _special(self, column: int, record: TokenRecord) -> dict[str, object]:
        """The optional fields, which most tokens do not have."""
        fields: dict[str, object] = {}
        values = {name: round(record.controls[name], 6) for name in self.spec.columns[column][1].controls}
        if values != self.values.get(column, {}):
            fields["v"] = self.values[column] = values
        if record.rank != 1:
            fields["r"] = record.rank
        if record.base_first != record.id:
            fields["b"] = record.base_first
        if record.id in self.stop_ids:
            fields["z"] = 1
        if record.draft:
            fields["d"] = [record.draft.id, round(record.draft.overlap, 3)]
        if cut := record.cut:
            off_nats = cut.off_nats if cut.off_nats is None else nats(cut.off_nats)
            fields["u"] = [int(cut.certain), cut.sent, cut.asked, round(cut.hidden, 6), off_nats]
        return fields

    def label(self, token_id: int) -> str:
        """The token as people read it."""
        return END_LABEL if token_id in self.stop_ids else token_label(self.token_bytes[token_id])

    def _new_labels(self, ids: set[int]) -> dict[int, str | tuple[str, str]]:
        new = ids - self.sent
        self.sent |= new
        return {token_id: self.shown(token_id) for token_id in sorted(new)}

    def shown(self, token_id: int) -> str | tuple[str, str]:
        """The label as in "w", with the bytes in hex where it cannot show them."""
        label, piece = self.label(token_id), self.token_bytes[token_id]
        plain = piece.removeprefix(b" ").decode("utf-8", "replace") == label
        return label if plain else (label, piece.hex(" ").upper())


def end_line(event: EndEvent, chars_sent: int = 0) -> str:
    """How a column ended, with the rest of its text. Unmeasured speeds are left out."""
    speeds = {"ttft_ms": event.ttft_s * 1000, "tps": event.tokens_per_s, "speedup": event.speedup}
    known: dict[str, object] = {
        name: round(v, 2) for name, v in speeds.items() if v is not None and math.isfinite(v) and v > 0
    }
    if event.reused_tokens:
        known["reused"] = [event.reused_tokens, event.prompt_tokens]
    if event.acceptance_rate is not None:
        known["acc"] = round(event.acceptance_rate, 3)
    return line(
        "end", p=event.column, why=event.finish_reason, error=event.error, s=event.text[chars_sent:], **known
    )


def role_ranks(roles: Sequence[str], record: TokenRecord) -> list[int]:
    """The rank of the token under each role: exact among the best few, else minus a lower bound.

    A record lists the first `ROLE_CANDIDATES` tokens of every role, so the rank of a token is exact if fewer
    listed tokens are ahead of it.
    """
    listed = record.candidates
    ahead = [sum(other.by_role[role] > record.by_role[role] for other in listed) for role in roles]
    return [1 + n if n < ROLE_CANDIDATES else -1 - n for n in ahead]


def plotted_column(recipes: Sequence[Recipe]) -> int | None:
    """The column whose attribution is plotted: the last one that a slider affects."""
    steered = [index for index, recipe in enumerate(recipes) if recipe.controls]
    return steered[-1] if steered else None


def shown_candidates(recipe: Recipe, record: TokenRecord) -> list[Candidate]:
    """The candidates sent, most likely first: the token, its rivals, and every model's likely tokens."""
    kept = {record.id, record.base_first}
    if record.draft:
        kept.add(record.draft.id)
    if recipe.terms:
        tuned = recipe.terms[0].plus
        kept.add(max(record.candidates, key=lambda c: c.by_role[tuned]).id)

    def worth(candidate: Candidate) -> tuple[bool, float]:
        return candidate.id in kept, max(candidate.logprob, *candidate.by_role.values())

    listed = sorted(record.candidates, key=worth, reverse=True)[:MAX_LISTED]
    return sorted(listed, key=lambda candidate: -candidate.logprob)


def _terms(recipe: Recipe) -> list[list[float | int | str | None]]:
    places = recipe.roles.index
    return [
        [term.scale, term.weight, places(term.plus), places(term.minus)]
        if isinstance(term.weight, str)
        else [term.weight, None, places(term.plus), places(term.minus)]
        for term in recipe.terms
    ]


def _factors(schedule: Schedule) -> list[float]:
    return [round(factor, 6) for factor in schedule.curve(max(1, schedule.tokens + 1, len(schedule.factors)))]


def _candidate_row(candidate: Candidate, roles: Sequence[str]) -> list[float | int | None]:
    return [candidate.id, nats(candidate.logprob), *(nats(candidate.by_role[role]) for role in roles)]
