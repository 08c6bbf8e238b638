"""Asks every column a person's own questions, at every alpha, and compares the columns.

A question with choices is decided by the log-prob of each choice as the answer; the others are written.
Knows questions, services and recipes; knows no page.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from eft_demo.engine.collect import collect
from eft_demo.engine.given_text import answer_tokens
from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError
from eft_demo.lab.harness import GREEDY
from eft_demo.lab.questions import Asked, says
from eft_demo.lab.share import Share, share_of
from eft_demo.method.recipe import BASE, REFERENCE, TUNED, UPSCALED, Recipe
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.runs.spec import TUNED_SHOWN, Columns, RunSpec, check
from eft_demo.runs.trace import ColumnTrace, TokenRecord
from eft_demo.settings import control_range

RUNS_AT_ONCE = 32
NGRAM = 4  # tokens that count as repeated if the text has had them before
SHOWN = 20  # differences in the report; all of them are among the replies
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Cell:
    """A column at one alpha: a line of the table."""

    column: str
    recipe: Recipe
    alpha: float | None  # None: its recipe has no alpha


Job = tuple[Cell, int, Asked]  # with the question's place in the file


@dataclass(frozen=True, slots=True)
class Reply:
    """What one column answered to one question at one alpha. Sums, in nats, are over the text's tokens."""

    line: int
    prompt: str
    column: str
    recipe: str
    alpha: float | None
    seed: int
    text: str  # of a question with choices: the likeliest one
    finish_reason: str
    right: bool | None  # None: the file does not say what is right
    tokens: int
    changed: int  # tokens that are not what the recipe's anchor alone finds likeliest
    repeated: int  # tokens that end a group of NGRAM tokens that the text has had before
    lead_nats: float  # by how much the recipe finds the text likelier than its anchor alone
    choice_logprobs: tuple[float, ...] = ()  # of the whole choices


@dataclass(frozen=True, slots=True)
class Line:
    """The answers of one column at one alpha, summed up."""

    column: str
    recipe: str
    alpha: float | None
    right: Share  # of the questions for which the file says what is right
    answers: int
    tokens: int
    changed: int
    repeated: int
    lead_nats: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two columns on the same questions: how many only one of them answered rightly."""

    only_first: int
    only_second: int

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test (two-sided): how likely so uneven counts are if both are equally good."""
        n, most = self.only_first + self.only_second, max(self.only_first, self.only_second)
        tail = sum(math.comb(n, k) for k in range(most, n + 1))
        return float(min(Fraction(1), Fraction(2 * tail, 2**n)))  # exact: 2**n may be beyond a float


def ask(
    service: Service,
    questions: Sequence[Asked],
    columns: Columns,
    alphas: Sequence[float],
    *,
    behaviour: str = "",
    sampling: Sampling | None = None,
    length: int | None = None,
) -> Iterator[Reply]:
    """Every cell's reply to every question, ordered by cell; greedy without `sampling`.

    A question's place in the file, from 0, is added to the seed, so that it does not depend on the order in
    which they are answered. Raises EFTError, also if a column cannot answer.
    """
    cells = cells_of(columns, alphas)
    jobs = [(cell, place, asked) for cell in cells for place, asked in enumerate(questions)]
    for some in _batches(jobs):
        specs = [_spec(cell, asked, place, behaviour, sampling, length) for cell, place, asked in some]
        yield from _replies(service, [(cell, asked) for cell, _, asked in some], specs)


def _batches(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs in their order, in parts of at most RUNS_AT_ONCE runs; a choice is a run of its own."""
    part: list[Job] = []
    runs = 0
    for job in jobs:
        own = max(len(job[2].choices), 1)
        if part and runs + own > RUNS_AT_ONCE:
            yield part
            part, runs = [], 0
        part.append(job)
        runs += own
    if part:
        yield part


def cells_of(columns: Columns, alphas: Sequence[float]) -> list[Cell]:
    """Every column at every alpha; those whose recipe has no alpha, once."""
    return [
        Cell(name, recipe, alpha)
        for name, recipe in columns
        for alpha in (dict.fromkeys(alphas) if "alpha" in recipe.controls else (None,))
    ]


def _spec(
    cell: Cell, asked: Asked, place: int, behaviour: str, sampling: Sampling | None, length: int | None
) -> RunSpec:
    plain = sampling or GREEDY
    sliders = {name: limits.default for name in cell.recipe.controls if (limits := control_range(name))}
    return RunSpec(
        prompt=asked.prompt,
        behaviour=behaviour,
        columns=((cell.column, cell.recipe),),
        controls=sliders if cell.alpha is None else {**sliders, "alpha": cell.alpha},
        sampling=replace(plain, seed=plain.seed + place),
        length=length,
        # In bf16 drafts may change the rounding, and whether to draft depends on the machine's load.
        speculation=Speculation("off"),
    )


def _replies(service: Service, asked: Sequence[tuple[Cell, Asked]], specs: Sequence[RunSpec]) -> list[Reply]:
    """Start all runs of these questions, then read them."""
    started = []
    for (_, question), spec in zip(asked, specs, strict=True):
        named = check(spec, service.family, service.settings)
        texts = [answer_tokens(service.family, named, choice) for choice in question.choices]
        own = [spec.model_copy(update={"length": len(ids)}) for ids in texts] if texts else [spec]
        started.append([service.start_run(one, ids) for one, ids in zip(own, texts or [[]], strict=True)])
    return [
        _reply(cell, question, spec, [_read(run) for run in runs])
        for (cell, question), spec, runs in zip(asked, specs, started, strict=True)
    ]


def _read(run: Run) -> ColumnTrace:
    (trace,) = collect(run)
    if trace.error:
        raise EFTError(f"{trace.name}: {trace.error}")
    return trace


def _reply(cell: Cell, asked: Asked, spec: RunSpec, traces: Sequence[ColumnTrace]) -> Reply:
    sums = tuple(sum(record.logprob for record in trace.tokens) for trace in traces) if asked.choices else ()
    chosen = max(range(len(traces)), key=sums.__getitem__) if asked.choices else 0
    trace = traces[chosen]
    text = asked.choices[chosen] if asked.choices else trace.text
    right = chosen == asked.right if asked.choices else any(says(text, answer) for answer in asked.answers)
    ids = [record.id for record in trace.tokens]
    return Reply(
        asked.line,
        asked.prompt,
        cell.column,
        str(cell.recipe),
        cell.alpha,
        spec.sampling.seed,
        text,
        "chosen" if asked.choices else trace.finish_reason,
        right if asked.judged else None,
        len(ids),
        sum(record.id != record.base_first for record in trace.tokens),
        _repeated(ids),
        sum(map(_lead, trace.tokens)),
        sums,
    )


def _lead(record: TokenRecord) -> float:
    return record.logprob - record.anchor_logprob


def _repeated(ids: Sequence[int]) -> int:
    groups = [tuple(ids[i : i + NGRAM]) for i in range(len(ids) - NGRAM + 1)]
    return len(groups) - len(set(groups))


def table(replies: Iterable[Reply]) -> list[Line]:
    """One line for each column and alpha, in the order of the replies."""
    cells: dict[tuple[str, str, float | None], list[Reply]] = {}
    for reply in replies:
        cells.setdefault((reply.column, reply.recipe, reply.alpha), []).append(reply)
    return [
        Line(
            column,
            recipe,
            alpha,
            right=share_of(reply.right for reply in own if reply.right is not None),
            answers=len(own),
            tokens=sum(reply.tokens for reply in own),
            changed=sum(reply.changed for reply in own),
            repeated=sum(reply.repeated for reply in own),
            lead_nats=sum(reply.lead_nats for reply in own if math.isfinite(reply.lead_nats)),
        )
        for (column, recipe, alpha), own in cells.items()
    ]


def compare(first: Iterable[Reply], second: Iterable[Reply]) -> Pair:
    """Two cells on the judged questions that both answered."""
    mine = {reply.line: reply for reply in first if reply.right is not None}
    pairs = [(mine[reply.line].right, reply.right) for reply in second if reply.line in mine]
    return Pair(
        sum(a is True and b is False for a, b in pairs), sum(a is False and b is True for a, b in pairs)
    )


def title_of(reply: Reply | Line) -> str:
    """The cell's name in reports."""
    return reply.column if reply.alpha is None else f"{reply.column}, alpha {reply.alpha:g}"


def verdict(replies: Sequence[Reply]) -> list[str]:
    """Whether these questions show that up-scaling helps, in sentences with their evidence.

    Empty unless the small tuned model, the large base and an up-scaled column were asked judged questions.
    Of several alphas, the one closest to 1 is judged: choosing the best would flatter it.
    """
    by_recipe: dict[str, dict[float | None, list[Reply]]] = {}
    for reply in replies:
        if reply.right is not None:
            by_recipe.setdefault(reply.recipe, {}).setdefault(reply.alpha, []).append(reply)
    shown = TUNED_SHOWN if str(TUNED_SHOWN) in by_recipe else TUNED
    if not all(str(recipe) in by_recipe for recipe in (shown, BASE, UPSCALED)):
        return []
    scaled = by_recipe[str(UPSCALED)]
    up = scaled[min(scaled, key=lambda alpha: abs((alpha or 0.0) - 1))]
    tuned, base = (next(iter(by_recipe[str(recipe)].values())) for recipe in (shown, BASE))
    found = [
        "Right answers: "
        + "; ".join(f"{title_of(own[0])} {share_of(bool(r.right) for r in own)}" for own in (up, tuned, base))
        + f", of {len(up)} questions."
    ]
    for other, name in ((tuned, "the small tuned model alone"), (base, "the large base alone")):
        found.append(_against(compare(up, other), name))
    if str(REFERENCE) in by_recipe:
        found.append(_recovered(up, tuned, next(iter(by_recipe[str(REFERENCE)].values()))))
    return found


def _against(pair: Pair, name: str) -> str:
    counts = (
        f"only it was right {pair.only_first} times, only {name} {pair.only_second} times "
        f"(p = {pair.p_value:.2g}, McNemar's exact test)"
    )
    if pair.only_second >= pair.only_first:
        return f"Up-scaling does not pay here against {name}, which is as good or better: {counts}."
    if pair.p_value > SIGNIFICANT:
        return f"These questions do not decide whether up-scaling is better than {name}: {counts}."
    return f"Up-scaling is better than {name}: {counts}."


def _recovered(up: Sequence[Reply], tuned: Sequence[Reply], reference: Sequence[Reply]) -> str:
    own, low, high = (share_of(bool(r.right) for r in side).value for side in (up, tuned, reference))
    if high <= low:
        return "The large tuned model is no better than the small one here, so there is no gap to recover."
    return f"Up-scaling recovers {(own - low) / (high - low):.0%} of the gap to the large tuned model."


def to_markdown(replies: Sequence[Reply]) -> str:
    """The table, the verdict, and questions that one column answered rightly and another wrongly."""
    lines = [
        "| column | right (95 % interval) | tokens an answer | changed | repeated | lead, nats a token |",
        "|---|---|---|---|---|---|",
    ]
    for line in table(replies):
        tokens = max(line.tokens, 1)
        lines.append(
            f"| {title_of(line)} | {line.right if line.right.count else 'not known'} | "
            f"{line.tokens / line.answers:.1f} | {line.changed / tokens:.0%} | "
            f"{line.repeated / tokens:.0%} | {line.lead_nats / tokens:.2f} |"
        )
    if found := verdict(replies):
        lines += ["", *found]
    return "\n".join([*lines, *_differences(replies)])


def _differences(replies: Iterable[Reply]) -> list[str]:
    by_line: dict[int, list[Reply]] = {}
    for reply in replies:
        by_line.setdefault(reply.line, []).append(reply)
    split = [own for own in by_line.values() if {True, False} <= {reply.right for reply in own}]
    if not split:
        return []
    lines = ["", f"{len(split)} questions are right in one column and wrong in another."]
    for own in split[:SHOWN]:
        lines += ["", f"Line {own[0].line}: {' '.join(own[0].prompt.split())}"]
        lines += [
            f"- {'right' if r.right else 'wrong'}, {title_of(r)}: {' '.join(r.text.split())}" for r in own
        ]
    return lines


def to_json(replies: Sequence[Reply]) -> str:
    """Table, verdict and all replies as one document; a log-prob of -inf is null."""
    lines = [asdict(line) | {"title": title_of(line)} for line in table(replies)]
    document = {"table": lines, "verdict": verdict(replies), "replies": list(map(_as_json, replies))}
    return json.dumps(document, allow_nan=False)


def to_jsonl(replies: Iterable[Reply]) -> str:
    """One reply per line; a log-prob of -inf is null."""
    return "".join(json.dumps(_as_json(reply), allow_nan=False) + "\n" for reply in replies)


def _as_json(reply: Reply) -> dict[str, Any]:
    sums = [None if value == -math.inf else value for value in reply.choice_logprobs]
    lead = reply.lead_nats if math.isfinite(reply.lead_nats) else None
    return asdict(reply) | {"choice_logprobs": sums, "lead_nats": lead}
