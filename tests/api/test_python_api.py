"""EFT in Python: the texts of the page, tokens as they are written, the run as a page."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

import eft_demo
from eft_demo.api import EFT, Writing
from eft_demo.engine.collect import collect
from eft_demo.errors import EFTError, InputError, RecipeError
from eft_demo.method.sampling import Sampling
from eft_demo.runs.spec import FIRST, RunSpec
from eft_demo.runs.trace import RunTrace
from eft_demo.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "What is the capital of Peru?"


@pytest.fixture
def eft(tiny_settings: Settings) -> Iterator[EFT]:
    with eft_demo.load("tiny", tiny_settings) as eft:
        yield eft


def test_a_run_has_the_texts_of_the_same_spec(eft: EFT) -> None:
    run = eft.run(PROMPT, alpha=2.0, seed=7, temperature=0.9, length=12)
    spec = RunSpec(
        prompt=PROMPT, controls={"alpha": 2.0}, sampling=Sampling(seed=7, temperature=0.9), length=12
    )
    expected = collect(eft._service.start_run(spec))
    assert run.texts == {column.name: column.text for column in expected}
    assert list(run.texts) == [name for name, _ in FIRST]


def test_tokens_come_in_order_with_their_records_and_again_from_the_first(eft: EFT) -> None:
    run = eft.run(PROMPT, columns=["large_base", "Tuned:assistant"], length=10)
    tokens = list(run)
    assert [token.record for token in run] == [token.record for token in tokens]
    for column in run.trace.columns:
        mine = [token for token in tokens if token.column == column.name]
        assert [token.record for token in mine] == column.tokens
        assert column.text.startswith("".join(token.text for token in mine))
    assert {token.column for token in tokens} == {"large_base", "Tuned"}


def test_a_run_is_read_while_it_is_written_steered_and_stopped(eft: EFT) -> None:
    run = eft.run(PROMPT, alpha=0.0, length=100, temperature=1.5)
    tokens = iter(run)
    first = next(tokens)
    assert first.record.position == 0
    run.steer(alpha=3.0)
    with pytest.raises(InputError):
        run.steer(alpha_pirate=1.0)
    run.cancel()
    written = [first, *tokens]
    assert len(written) <= 300
    assert {column.finish_reason for column in run.trace.columns} <= {"cancelled", "stop", "length"}


def test_two_runs_are_written_at_once(eft: EFT) -> None:
    runs = [eft.run(PROMPT, columns=["large_base"], seed=seed, length=20) for seed in (1, 2, 1)]
    texts = [run.texts["large_base"] for run in runs]
    assert texts[0] == texts[2] != texts[1]


def test_a_run_becomes_a_page_and_a_file(eft: EFT) -> None:
    run = eft.run("<script>alert(1)</script>", length=8)
    page = run.to_html()
    assert page.lower().startswith("<!doctype html")
    assert "<script>alert(1)" not in page
    shown = run._repr_html_()
    assert shown.startswith('<iframe sandbox="allow-scripts"') and shown.count("<") == 2
    assert unescape(shown.split('srcdoc="')[1].split('"></iframe>')[0]) == page
    text = run.trace.to_json()
    assert RunTrace.from_json(text).columns == run.trace.columns and json.loads(text)


def test_what_a_run_cannot_have_is_refused(eft: EFT) -> None:
    with pytest.raises(TypeError, match="temprature"):
        eft.run(PROMPT, temprature=1)
    with pytest.raises(InputError):
        eft.run(PROMPT, alpha=99)
    with pytest.raises(InputError):
        eft.run(PROMPT, behaviour="nobody")
    with pytest.raises(RecipeError):
        eft.run(PROMPT, columns=["large_base +"])
    assert "assistant" in eft.roles and "pirate" in eft.behaviours


def test_a_column_that_fails_says_so_after_the_last_token(eft: EFT, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(eft._service.engine.models["assistant"], "join", broken)
    run = eft.run(PROMPT, columns=["large_base", "assistant"], length=5)
    with pytest.raises(EFTError, match="assistant"):
        list(run)
    assert run.texts["large_base"] and isinstance(run, Writing)


def test_a_closed_family_writes_nothing(tiny_settings: Settings) -> None:
    with eft_demo.load("tiny", tiny_settings) as eft:
        pass
    with pytest.raises(EFTError):
        eft.run(PROMPT)


def test_the_example_in_the_guide_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    (example,) = (code for code in guide.split("```")[1::2] if "eft_demo.load(" in code)
    monkeypatch.chdir(ROOT)
    exec(example.removeprefix("python\n"), {})  # noqa: S102
    printed = capsys.readouterr().out
    assert "Lima" in printed and re.search(r"^ *-?\d+\.\d\d +[+-]\d+\.\d\d ", printed, re.MULTILINE)
