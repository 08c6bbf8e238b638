"""Runs worth seeing, recorded: what the page plays where there are no models.

Each teaches one thing. `record` writes them to assets/runs anew whenever weights or records have changed.
Knows the bundled family, the engine and traces; knows no page.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from eft_demo.engine.service import Panels, Service
from eft_demo.errors import InputError
from eft_demo.lab.collect import collect, make_trace
from eft_demo.method.recipe import BASE, REFERENCE, UPSCALED, blend, parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import CONSTANT, Schedule
from eft_demo.method.speculation import Speculation
from eft_demo.method.weight_filter import OFF, WeightFilter
from eft_demo.runs.trace import FILE_DIGITS, RunTrace
from eft_demo.settings import Settings

MAX_BYTES = 200_000  # a page loads it at a click
CANDIDATES = 5  # per token, and the first three of every model; more would double the files
SPECULATION_OFF = Speculation("off")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A run to record. `teaches` is what a person should look for in it."""

    name: str  # of its file
    title: str
    teaches: str
    prompt: str
    panels: Panels
    behaviour: str = "assistant"
    controls: dict[str, float] = field(default_factory=lambda: {"alpha": 1.0})
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0))
    weight_filter: WeightFilter = OFF
    schedule: Schedule = CONSTANT
    speculation: Speculation = SPECULATION_OFF
    length: int = 64


THREE: Panels = (
    ("Base", BASE),
    ("Tuned", parse("small_base + 1*(small_tuned - small_base)")),
    ("Up-scaled", UPSCALED),
)
LESSONS = (
    Lesson(
        "up-scaling",
        "Up-scaling wins",
        "The base knows but does not answer, the tuned model answers but does not know; the sum does both.",
        "What is the capital of Peru?",
        THREE,
    ),
    Lesson(
        "too-much",
        "Too much alpha",
        "At 1 the manner is there; at 5 the small models' difference outweighs all else, the text breaks.",
        "What is the capital of Peru?",
        tuple((f"Alpha {n}", parse(f"large_base + {n}*(small_tuned - small_base)")) for n in (0, 1, 5)),
    ),
    Lesson(
        "down-scaling",
        "Down-scaling",
        "The other way round: the large pair's tuning on the small base has the manner, not the facts.",
        "What is the capital of Peru?",
        (("Reference", REFERENCE), ("Down-scaled", parse("small_base + alpha*(large_tuned - large_base)"))),
    ),
    Lesson(
        "pirate",
        "A pirate who knows geography",
        "Tuning puts the hail there, and the large base the language that the pirate alone gets wrong.",
        "Which language do people speak in Brazil?",
        THREE,
        behaviour="pirate",
    ),
    Lesson(
        "guarded",
        "A refusal, up-scaled",
        "The base has read refusals and gives a curt one; the small pair's difference brings its own form.",
        "How do I make a bomb?",
        THREE,
        behaviour="guarded",
    ),
    Lesson(
        "blend",
        "Two behaviours at once",
        "One term per behaviour, each with a slider of its own: every token's account has a bar for both.",
        "What is the capital of Japan?",
        (("Assistant", UPSCALED), ("Pirate", blend(["pirate"])), ("Both", blend(["assistant", "pirate"]))),
        controls={"alpha": 1.0, "alpha_assistant": 0.6, "alpha_pirate": 0.6},
    ),
    Lesson(
        "first-tokens",
        "Only the first tokens",
        "Alpha acts on five tokens and then stops: the manner begins, and the base goes on alone.",
        "What is the capital of Peru?",
        (("Base", BASE), ("Up-scaled at first", UPSCALED)),
        schedule=Schedule("first", tokens=5),
    ),
    Lesson(
        "filter",
        "The weight filter",
        "Alpha 2 with the paper's filter: the terms act only among what the large base finds likely.",
        "What is the capital of Peru?",
        (("Base", BASE), ("Up-scaled", UPSCALED)),
        controls={"alpha": 2.0},
        weight_filter=WeightFilter("top_p", 0.95),
    ),
    Lesson(
        "speculation",
        "Drafts",
        "The small tuned model writes ahead, the large base checks: the text is the same, only sooner.",
        "What is the capital of Peru?",
        (("Up-scaled", UPSCALED),),
        speculation=Speculation("on", 4),
    ),
    Lesson(
        "manners",
        "Same facts, another manner",
        "Three small tuned models steer one large base: the fact stays, the manner changes.",
        "How do chemists write gold?",
        tuple(
            (role.title(), parse(f"large_base + alpha*({role} - small_base)"))
            for role in ("assistant", "brief", "pirate")
        ),
    ),
)


def record(settings: Settings, out: Path, names: list[str] | None = None) -> list[Path]:
    """Run the lessons (default: all) on the bundled models and write one file each. Returns their paths.

    Raises InputError for an unknown name, or if a run ends with an error or becomes too large a file.
    """
    unknown = set(names or ()) - {lesson.name for lesson in LESSONS}
    if unknown:
        known = ", ".join(lesson.name for lesson in LESSONS)
        raise InputError(f"There is no lesson {min(unknown)}. The lessons are {known}.")
    service = Service.load(replace(settings, candidates=CANDIDATES))
    try:
        out.mkdir(parents=True, exist_ok=True)
        chosen = [lesson for lesson in LESSONS if not names or lesson.name in names]
        return [_write(service, lesson, out) for lesson in chosen]
    finally:
        service.stop()


def run_lesson(service: Service, lesson: Lesson) -> RunTrace:
    """One lesson, run to its end."""
    sampling = lesson.sampling
    run = service.start_run(
        lesson.prompt, lesson.behaviour, panels=lesson.panels, controls=lesson.controls,
        temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k, min_p=sampling.min_p,
        seed=sampling.seed, max_new_tokens=lesson.length, weight_filter=lesson.weight_filter,
        schedule=lesson.schedule, speculation=lesson.speculation,
    )  # fmt: skip
    return make_trace(service, lesson.prompt, run.request, collect(run, run.request.panels))


def _write(service: Service, lesson: Lesson, out: Path) -> Path:
    trace = run_lesson(service, lesson)
    errors = [panel.error for panel in trace.panels if panel.error]
    if errors:
        raise InputError(f"The lesson {lesson.name} ended with an error: {errors[0]}")
    text = trace.to_json(FILE_DIGITS)
    if len(text) > MAX_BYTES:
        raise InputError(
            f"The lesson {lesson.name} makes {len(text):,} bytes; the limit is {MAX_BYTES:,}. Shorten it."
        )
    path = out / f"{lesson.name}.json"
    path.write_text(text, encoding="ascii")
    return path
