"""EFT in Python: the texts of the page, tokens as they are written, the run as a page."""

import json
import multiprocessing
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch

import eft_demo
from eft_demo.api import CLOSED, EFT, OTHER_PROCESS, Writing
from eft_demo.engine.collect import collect
from eft_demo.errors import EFTError, InputError, RecipeError
from eft_demo.method.sampling import Sampling
from eft_demo.models.memory import free_unused
from eft_demo.runs.spec import FIRST, RunSpec
from eft_demo.runs.trace import RunTrace
from eft_demo.settings import Settings
from tests.tiers import first_of

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "What is the capital of Peru?"


@pytest.fixture(scope="module")
def eft(tiny_settings: Settings) -> Iterator[EFT]:
    # Its settings differ from those of the tests that load the family again, which would get a warning.
    with eft_demo.load("tiny", replace(tiny_settings, max_kept_mb=1)) as eft:
        yield eft


def test_a_run_has_the_texts_of_the_same_spec(eft: EFT) -> None:
    run = eft.run(PROMPT, alpha=2.0, seed=7, temperature=0.9, length=12)
    spec = RunSpec(
        prompt=PROMPT, controls={"alpha": 2.0}, sampling=Sampling(seed=7, temperature=0.9), length=12
    )
    expected = collect(eft._service.start_run(spec))
    assert run.texts == {column.name: column.text for column in expected}
    assert list(run.texts) == [name for name, _ in FIRST]


def test_a_text_of_ones_own_is_scored_under_every_column(eft: EFT) -> None:
    scored = eft.score(PROMPT, "Lima.", columns=["large_base", "Tuned:assistant"])
    assert scored.texts == {"large_base": " Lima.", "Tuned": " Lima."}
    base, tuned = scored.trace.columns
    assert [record.id for record in base.tokens] == [record.id for record in tuned.tokens]
    assert base.tokens[0].logprob == base.tokens[0].by_role["large_base"]
    with pytest.raises(InputError, match="text to score is empty"):
        eft.score(PROMPT, "")
    with pytest.raises(TypeError, match="A run has no alhpa"):
        eft.score(PROMPT, "Lima.", alhpa=1)


def test_a_system_prompt_that_no_model_reads_gets_a_warning(eft: EFT) -> None:
    with pytest.warns(UserWarning, match="system changes nothing"):
        eft.run(PROMPT, system="Be brief.", length=2).cancel()


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


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("large_base", r"\[\"large_base\"\]; got 'large_base'"),
        (None, "list of recipes"),
        (7, "list of recipes"),
        ([7], "name and a recipe; got 7"),
        ([None], "name and a recipe"),
        ([("a", "large_base", 1)], "name and a recipe"),
    ],
)
def test_odd_columns_are_refused_for_what_they_are(eft: EFT, columns: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        eft.run(PROMPT, columns=columns)  # type: ignore[arg-type]


def test_columns_may_be_pairs_or_recipes_by_name(eft: EFT) -> None:
    for columns in ([("Mine", "large_base")], {"Mine": "large_base"}, iter(["Mine:large_base"])):
        assert list(eft.run(PROMPT, columns=columns, length=3).texts) == ["Mine"]  # type: ignore[arg-type]


def test_numbers_of_numpy_and_torch_are_numbers(eft: EFT) -> None:
    plain = eft.run(PROMPT, alpha=1.5, seed=3, temperature=0.5, length=6)
    theirs = eft.run(
        PROMPT, alpha=np.float32(1.5), seed=np.int64(3), temperature=torch.tensor(0.5), length=np.int16(6)
    )
    theirs.steer(alpha=np.float32(1.5))  # type: ignore[arg-type]
    assert theirs.texts == plain.texts
    with pytest.raises(InputError):
        eft.run(PROMPT, seed=np.arange(2))


def test_values_that_are_given_in_two_ways_are_joined_or_refused(eft: EFT) -> None:
    for sampling in ({"temperature": 1.5}, Sampling(temperature=1.5)):
        run = eft.run(PROMPT, sampling=sampling, seed=5, controls={"beta": 2}, alpha=0.5, length=2)
        assert (run.trace.spec.sampling.temperature, run.trace.spec.sampling.seed) == (1.5, 5)
        assert run.trace.spec.controls == {"beta": 2, "alpha": 0.5}
    with pytest.raises(TypeError, match="seed is given twice"):
        eft.run(PROMPT, sampling={"seed": 1}, seed=2)
    with pytest.raises(TypeError, match="alpha is given twice"):
        eft.run(PROMPT, controls={"alpha": 1}, alpha=2)
    for controls in (None, 7, [("alpha", 1)]):
        with pytest.raises(InputError, match="controls"):
            eft.run(PROMPT, controls=controls, alpha=1)


def test_a_slider_that_no_column_uses_is_refused(eft: EFT) -> None:
    with pytest.raises(InputError, match="alpha_pirat"):
        eft.run(PROMPT, alpha_pirat=2)
    eft.run(PROMPT, alpha_pirate=2, columns=["large_base + alpha_pirate*(pirate - small_base)"]).cancel()


def test_a_family_is_a_name_or_a_path(tiny_settings: Settings) -> None:
    with eft_demo.load(ROOT / "assets" / "atlas" / "family.yaml") as eft:
        assert "assistant" in eft.roles
    for family in (7, None, b"tiny"):
        with pytest.raises(TypeError, match="path of a family file"):
            eft_demo.load(family)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Settings object"):
        eft_demo.load("tiny", {"port": 1})  # type: ignore[arg-type]


def test_a_closed_family_writes_nothing_and_says_that_it_is_closed(tiny_settings: Settings) -> None:
    with eft_demo.load("tiny", tiny_settings) as eft:
        run = eft.run(PROMPT, length=100)
        next(iter(run))
    with pytest.raises(EFTError, match=CLOSED):
        eft.run(PROMPT)
    with pytest.raises(EFTError, match=CLOSED):
        list(run)


def test_a_closed_family_keeps_no_models_though_its_runs_stay(tiny_settings: Settings) -> None:
    with eft_demo.load("tiny", tiny_settings) as eft:
        engine = weakref.ref(eft._service.engine)
        read, unread = eft.run(PROMPT, length=2), eft.run(PROMPT, length=2)
        texts = read.texts
    free_unused()
    assert engine() is None
    assert read.texts == texts and "<html" in read.to_html() and unread.trace.made_with
    assert eft.roles


def test_a_family_that_is_loaded_again_in_its_place_is_closed(tiny_settings: Settings) -> None:
    eft = eft_demo.load("tiny", tiny_settings)
    shown = eft.run(PROMPT, length=2)  # as a notebook keeps what its cells show
    engine, thread, texts = weakref.ref(eft._service.engine), eft._service.thread, shown.texts
    with pytest.warns(UserWarning, match="tiny is loaded already and stays in memory"):
        eft = eft_demo.load("tiny", tiny_settings)
    assert not thread.alive
    del thread
    free_unused()
    assert engine() is None
    assert shown.texts == texts
    eft.close()
    eft_demo.load("tiny", tiny_settings).close()  # no warning after closing


def test_a_run_keeps_its_family_until_it_is_written(tiny_settings: Settings) -> None:
    run = eft_demo.load("tiny", tiny_settings).run(PROMPT, length=20)
    assert all(run.texts.values())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("begun", [False, True])
def test_a_fork_of_the_process_is_told_that_it_cannot_write(tiny_settings: Settings, begun: bool) -> None:
    with eft_demo.load("tiny", tiny_settings) as eft:
        run = eft.run(PROMPT, length=100) if begun else None
        here, there = multiprocessing.Pipe()

        def in_the_fork() -> None:
            try:
                list(run or eft.run(PROMPT))
            except EFTError as error:
                there.send(str(error))

        fork = multiprocessing.get_context("fork").Process(target=in_the_fork, daemon=True)
        fork.start()
        try:
            assert here.poll(60) and here.recv() == OTHER_PROCESS
        finally:
            fork.kill()
            fork.join()
        assert eft.run(PROMPT, length=1).texts


@pytest.mark.parametrize(("end", "code"), first_of(("1/0", 1), ("", 0), ("raise SystemExit(3)", 3)))
def test_a_program_that_ends_while_texts_are_written_ends_as_it_wants(end: str, code: int) -> None:
    program = (
        "import eft_demo\n"
        "eft = eft_demo.load()\n"
        "runs = [eft.run('Tell me about Peru', length=250, seed=seed) for seed in range(9)]\n"
        "next(iter(runs[0]))\n" + end
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == code, ended.stderr
    assert "terminate" not in ended.stderr


def test_the_example_in_the_guide_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    (example,) = (code for code in guide.split("```")[1::2] if "eft_demo.load(" in code)
    monkeypatch.chdir(ROOT)
    exec(example.removeprefix("python\n"), {})  # noqa: S102
    printed = capsys.readouterr().out
    assert "Lima" in printed and re.search(r"^ *-?\d+\.\d\d +[+-]\d+\.\d\d ", printed, re.MULTILINE)
