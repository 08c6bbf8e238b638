"""What a program can do that was extended as docs/extending.md says; `test_extending` runs this in a copy."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers.generation.logits_process import (
    EpsilonLogitsWarper,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from eft_demo.engine.collect import collect, make_trace
from eft_demo.engine.service import Service
from eft_demo.families.catalogue import list_entries
from eft_demo.method.sampling import Sampling, gumbel, overlap, sample
from eft_demo.method.sampling_settings import SAMPLING
from eft_demo.method.speculation import parse_speculation
from eft_demo.models import load
from eft_demo.runs.link import Link, from_query
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import RunTrace
from eft_demo.settings import ASSETS, Settings
from eft_demo.ui import run_store, stream, what_if
from eft_demo.ui.columns import presets
from eft_demo.ui.page import page_line
from eft_demo.ui.run_form import read_run_spec
from tests.command_line import run_cli
from tests.fakes import make_service

FP32 = Settings(dtype="fp32", threads=1)
EPSILON = 0.2
VOCAB = 300


def drawn(epsilon: float, **fields: Any) -> Sampling:
    """A Sampling with the number that the document adds."""
    return Sampling(**{"epsilon": epsilon, **fields})


@pytest.fixture(scope="module")
def mine() -> Iterator[Service]:
    service = Service.load(FP32, "mine")
    yield service
    service.stop()


def run_of(service: Service, spec: RunSpec) -> RunTrace:
    run = service.start_run(spec)
    return make_trace(service, run.request.spec, collect(run))


def reference(logprobs: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The warpers of transformers, one after the other, for one row (1, vocab)."""
    steps: list[Any] = [TemperatureLogitsWarper(sampling.temperature)]
    steps += [TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []
    steps += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    steps += [MinPLogitsWarper(sampling.min_p)] if sampling.min_p else []
    epsilon = getattr(sampling, "epsilon")  # noqa: B009  # a field that only the copy has
    steps += [EpsilonLogitsWarper(epsilon)] if epsilon else []
    warped: torch.Tensor = LogitsProcessorList(steps)(torch.zeros(1, 0, dtype=torch.long), logprobs)
    return warped


def test_the_warper_keeps_the_same_tokens_as_transformers() -> None:
    rows = [
        drawn(epsilon, temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p, seed=seed)
        for seed, epsilon in enumerate((0.0, 0.003, 0.02, 0.2, 0.5))
        for temperature in (0.5, 1.0, 1.8)
        for top_p, top_k, min_p in ((1.0, 0, 0.0), (0.9, 0, 0.0), (1.0, 20, 0.05))
    ]
    changed = 0
    none: dict[str, Any] = {"epsilon": 0.0}
    for position in range(20):
        generator = torch.Generator().manual_seed(position)
        logprobs = (torch.randn(len(rows), VOCAB, generator=generator) * 2.5).log_softmax(-1)
        ids = sample(logprobs, rows, [position] * len(rows))
        for i, sampling in enumerate(rows):
            noise = gumbel([sampling.seed], [position], VOCAB)
            expected = int((reference(logprobs[i : i + 1], sampling) + noise).argmax())
            assert int(ids[i]) == expected, sampling
            without = replace(sampling, **none)
            changed += expected != int(sample(logprobs[i : i + 1], [without], [position]))
    assert changed > 50  # it does something


def test_the_overlap_takes_the_warper_into_account() -> None:
    first, second = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[0.6, 0.1, 0.3]]).log()
    sampling = {"temperature": 1.0, "top_p": 1.0}
    assert float(overlap(first, second, [drawn(0.0, **sampling)])) == pytest.approx(0.8)
    assert float(overlap(first, second, [drawn(0.5, **sampling)])) == pytest.approx(1.0)


def test_the_warper_is_in_page_request_link_and_trace(mine: Service) -> None:
    assert "epsilon" in SAMPLING
    assert json.loads(page_line(mine))["fields"]["epsilon"]["help"]
    posted = RunSpec(prompt="What?", sampling=drawn(EPSILON), controls={"alpha": 1.0}, length=4).as_posted()
    assert posted["epsilon"] == EPSILON
    spec = read_run_spec(mine, posted)
    assert spec.sampling == drawn(EPSILON)
    link = from_query(Link(spec).to_query())
    assert link and link.spec.sampling == spec.sampling and not link.left_out
    trace = run_of(mine, spec)
    assert RunTrace.from_json(trace.to_json()).spec.sampling == spec.sampling
    for path in (ASSETS / "runs").glob("*.json"):
        assert RunTrace.from_json(path.read_text()).spec.sampling == drawn(
            0.0, **json.loads(path.read_text())["sampling"]
        )


def test_the_warper_acts_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lowest(epsilon: str) -> float:
        options = ["--epsilon", epsilon, "--temperature", "1.5", "--top-p", "1", "--max-new-tokens", "30"]
        command = ["generate", "What is the capital of Peru?", "--json", *options]
        assert run_cli(monkeypatch, *command) == 0
        trace = RunTrace.from_json(capsys.readouterr().out)
        assert trace.spec.as_posted()["epsilon"] == float(epsilon)
        return min(record.logprob for c in trace.columns for record in c.tokens if record.rank > 1)

    # A token with 0.2 of the probability at temperature 1.5 has less at 1, but not so much less.
    assert lowest("0") < math.log(0.05) < lowest("0.2")


def test_the_warper_keeps_speculative_decoding_exact() -> None:
    service = Service.load(FP32, "atlas")
    try:
        texts = []
        for speculation in ("off", "on 4"):
            sampling = drawn(0.05, temperature=1.2, top_p=1.0, seed=3)
            spec = RunSpec(
                prompt="Tell me about Peru.",
                sampling=sampling,
                speculation=parse_speculation(speculation),
                length=24,
            )
            trace = run_of(service, spec)
            texts.append([[token.id for token in column.tokens] for column in trace.columns])
        assert texts[0] == texts[1]
        assert any(column.acceptance_rate for column in trace.columns)
    finally:
        service.stop()


def test_the_page_is_sent_the_names_of_warpers_it_cannot_replay(mine: Service) -> None:
    for epsilon, named in ((EPSILON, ["Epsilon"]), (0.0, [])):
        trace = run_of(mine, RunSpec(prompt="What?", sampling=drawn(epsilon, temperature=1.0), length=2))
        encoder = stream.Encoder(trace.spec, mine.family.token_bytes, mine.family.stop_ids)
        assert json.loads(encoder.run_line("a", 0))["unreplayed"] == named


def test_the_backend_gives_the_librarys_text(mine: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {type(model).__name__ for model in mine.engine.models.values()} == {"RecomputeModel"}
    spec = RunSpec(prompt="What is the capital of Peru?", sampling=Sampling(seed=5), length=16)
    ours = run_of(mine, spec)
    monkeypatch.setattr(load, "BACKENDS", (load.LIBRARY,))
    library = Service.load(FP32, "mine")
    try:
        theirs = run_of(library, spec)
        assert {type(model).__name__ for model in library.engine.models.values()} == {"TransformersModel"}
    finally:
        library.stop()
    for one, other in zip(ours.columns, theirs.columns, strict=True):
        assert [token.id for token in one.tokens] == [token.id for token in other.tokens]
        assert one.tokens and one.finish_reason == other.finish_reason != "error"


def test_the_plot_is_served(mine: Service) -> None:
    *_, tab = json.loads(page_line(mine))["plots"]
    assert (tab["name"], "{column}" in tab["hint"]) == ("uncertainty", True)
    trace = run_of(mine, RunSpec(prompt="What?", length=6))
    runs = run_store.RunStore(FP32)
    runs.keep("a", run_store.StoredRun.of_file(trace))
    asked = {"run": "a", "tab": "uncertainty", "columns": [1]}
    (bars,) = json.loads(run_store.plot(mine, runs, asked))["data"]
    assert bars["y"] == [round(token.entropy_nats, 3) for token in trace.columns[1].tokens]
    for bad in ({"tab": "nothing"}, {"columns": [9]}, {"columns": ["x"]}, {"columns": [1, 0]}, {"run": "b"}):
        assert json.loads(run_store.plot(mine, runs, asked | bad))["error"]


def test_the_preset_is_offered_and_runs(mine: Service) -> None:
    (preset,) = [preset for preset in presets(mine.family) if preset.name == "Half-tuned"]
    offered = json.loads(page_line(mine))["presets"]
    assert preset.title in [entry["title"] for entry in offered]
    trace = run_of(mine, RunSpec(prompt="What?", columns=[(preset.name, preset.recipe)], length=4))  # type: ignore[arg-type]
    assert trace.columns[0].recipe == "small_base + 0.5*(polite - small_base)"
    assert len(trace.columns[0].tokens) > 0


def test_the_family_is_found_and_answers(mine: Service) -> None:
    assert "mine" in [entry.name for entry in list_entries(Settings())]
    trace = run_of(mine, RunSpec(prompt="Köln?", length=8))
    assert trace.spec.family == "mine"
    assert "polite" in trace.columns[2].recipe
    assert all(column.finish_reason in ("stop", "length") for column in trace.columns)


def test_the_browser_shows_the_tab_and_marks_unknown_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api", reason="this needs playwright")
    pytest.importorskip("axe_playwright_python", reason="this needs axe")
    from tests.site import CHROMIUM, browsing, run, serving, violations, wait_end  # noqa: PLC0415  # may skip

    if CHROMIUM is None:
        pytest.skip("this needs Debian's chromium in /usr/bin")
    monkeypatch.setattr(what_if, "STEP_SCORES", 1)  # nothing can be scored, so the page is left to itself
    with browsing() as browser, serving(make_service(Settings()), browser) as site:
        page = site.open()
        page.eval_on_selector("#eft-epsilon", "(field) => { field.value = 0.01; }")
        run(page, "Lima it is", 12)
        page.wait_for_selector(".t")
        wait_end(page)
        page.focus("[data-part=tab-strip]")
        page.click("[data-part=tab-strip]")
        page.keyboard.press("ArrowRight")  # the tab after the last of the page's own
        assert page.evaluate("document.activeElement.dataset.part") == "tab-uncertainty"
        page.wait_for_function(
            "document.querySelector('[data-part=uncertainty-plot]').data?.[0].y.length > 5"
        )
        assert page.locator("[data-part=attribution-title]").inner_text() == "How uncertain each token was"
        page.select_option("[data-part=uncertainty-column]", label="Base")
        assert page.input_value("[data-part=plotted]") == "0"
        page.locator("[data-part=as-if]").scroll_into_view_if_needed()
        said = "words => document.querySelector('[data-part=as-if-text]').textContent.includes(words)"
        slider = "[data-control=alpha] input[type=range]"
        move = "(it, to) => { it.value = to; it.dispatchEvent(new Event('input', {bubbles: true})); }"
        page.eval_on_selector(slider, move, 2.5)
        page.wait_for_function(said, arg="Epsilon")
        assert page.locator(".would").count() == 0
        assert violations(page) == []
        monkeypatch.undo()
        run(page, "Lima it is", 12)
        wait_end(page)
        page.eval_on_selector(slider, move, 2)
        page.wait_for_function(said, arg="At α 2.00")  # the server has the whole distribution
        site.close_pages()
