"""What decided a run's texts, in words: also where a column or a token had another value than the run."""

import dataclasses
from collections.abc import Sequence

import pytest

from eft_demo.method.recipe import BASE, UPSCALED, Recipe, parse
from eft_demo.method.schedule import parse_schedule
from eft_demo.runs.export import to_markdown
from eft_demo.runs.settings_text import settings_of
from eft_demo.runs.trace import ColumnTrace, RunTrace
from eft_demo.settings import Settings
from eft_demo.ui.run_store import StoredRun
from eft_demo.ui.saved_page import to_html
from tests.asking import make_run, spec, three
from tests.fakes import CHANT, make_service
from tests.records import make_record

WITH_BETA = parse("large_base + alpha*(small_tuned - small_base) + beta*(small_tuned - large_base)")


def column(
    name: str, values: Sequence[float], recipe: Recipe = UPSCALED, control: str = "alpha"
) -> ColumnTrace:
    """A column with these effective values of a control, one per token."""
    chances = {7: dict.fromkeys(recipe.roles, -1.0)}
    records = [
        make_record(recipe, 7, chances, position=i, controls={"alpha": 1.0, "beta": 0.5, control: value})
        for i, value in enumerate(values)
    ]
    return ColumnTrace(name, str(recipe), records, "", "stop")


def said_of(control: str, columns: Sequence[ColumnTrace], schedule: str = "constant") -> str:
    run = make_run(columns, controls={"alpha": 1.0, "beta": 0.5}, schedule=parse_schedule(schedule))
    return next(text for text in settings_of(run) if text.startswith(control))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([column("Up", [1, 1, 1])], "alpha 1"),
        ([column("Up", [])], "alpha 1"),
        ([column("Up", [1, 1, 3, 3])], "alpha 1, moved to 3 at token 3 of Up"),
        ([column("Up", [1, 3, 1.25])], "alpha 1, moved to 3 at token 2 of Up and again"),
        ([column("Up", [3, 3])], "alpha 1, 3 in Up"),
        # One move reaches columns at different tokens, or not at all; a column without the control has none.
        ([column("Base", [3], BASE), column("A", [1]), column("B", [1, 3]), column("C", [1, 1, 3])],
         "alpha 1, moved to 3 at token 2 of B"),
        ([column("A", [1, 3]), column("B", [2, 2])], "alpha 1, moved to 3 at token 2 of A and again"),
    ],
)  # fmt: skip
def test_a_moved_control_is_listed_with_its_first_move(columns: list[ColumnTrace], words: str) -> None:
    assert said_of("alpha", columns) == words


def test_a_schedule_is_not_listed_as_a_move_and_does_not_scale_beta() -> None:
    warmed = [0.25, 0.5, 0.75, 1.0, 1.0]
    assert said_of("alpha", [column("Up", warmed)], "warmup 4") == "alpha 1"
    moved = [0.25, 0.5, 2.25, 3.0, 3.0]
    assert said_of("alpha", [column("Up", moved)], "warmup 4") == "alpha 1, moved to 3 at token 3 of Up"
    assert said_of("alpha", [column("Up", [0.0, 0.0])], "list 0") == "alpha 1"
    steady = [column("Up", [0.5, 0.5], WITH_BETA, "beta")]
    assert said_of("beta", steady, "warmup 4") == "beta 0.5"


def test_columns_with_another_seed_are_named() -> None:
    columns = [column(name, [1]) for name in ("A", "B", "C", "D")]
    seeded = [dataclasses.replace(one, seed=seed) for one, seed in zip(columns, (7, None, 8, 7), strict=True)]
    said = settings_of(make_run(seeded, controls={"alpha": 1.0}))
    assert said[said.index("seed 0") + 1 :][:2] == ["seed 7 in A and D", "seed 8 in C"]


def steered() -> RunTrace:
    """A run whose alpha was moved from 1 to 3 while its text streamed."""
    service = make_service(Settings(), pause_s=0.02)
    try:
        columns = three("assistant")
        run = service.start_run(spec(CHANT, "assistant", columns=columns, controls={"alpha": 1.0}, length=40))
        kept = StoredRun.of_run(run)
        while not all(trace.finish_reason for trace in kept.traces):
            for event in run.events(1.0):
                kept.add(event)
            if kept.traces[2].tokens and run.controls["alpha"] == 1.0:
                run.set_controls({"alpha": 3.0})
        return kept.trace(service)
    finally:
        service.stop()


def test_moved_controls_are_in_the_markdown_and_the_html() -> None:
    run = steered()
    values = [record.controls["alpha"] for record in run.columns[2].tokens]
    words = f"alpha 1, moved to 3 at token {values.index(3.0) + 1} of Up-scaled"
    assert 1.0 in values and words in to_markdown(run).replace("\\", "") and words in to_html(run)
