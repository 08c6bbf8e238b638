"""A model on a completion server: the texts of the same model here, and every fault in a sentence.

The server is real HTTP on this machine with vLLM's wire format (`tests/completions.py`). With `--remote URL`,
a real one that serves the bundled large base is asked too (docs/deploying.md says how to start it).
"""

import logging
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
import yaml

from eft_demo.engine.collect import collect, make_trace
from eft_demo.engine.engine import Engine
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, FamilyError, InputError, RemoteError
from eft_demo.families.catalogue import find_entry, read_entry
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.method.recipe import BASE, TUNED, UPSCALED, parse
from eft_demo.method.sampling_settings import Sampling
from eft_demo.models.load import load_models
from eft_demo.models.open import open_family
from eft_demo.models.protocol import LanguageModel
from eft_demo.models.remote import PROBE, RemoteModel
from eft_demo.runs.events import TokenEvent, add_event, empty_traces
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import Settings
from tests.asking import QUESTION, finished, ids_of, make_request, spec, three
from tests.completions import FAULTS, MODEL, Completions, serving
from tests.waiting import PATIENCE_S, until

KEY = "sk-very-secret-0123"
WARM = Sampling(temperature=0.8, top_p=0.95, seed=3)
LENGTH = 12
SILENT = ("hang", "slow")  # until the time for an answer is over
every_speculation = pytest.mark.parametrize("speculation", ["off", "on", "on 4"])


@pytest.fixture
def server(tiny_assets: Path) -> Iterator[Completions]:
    with serving(tiny_assets / "tiny", {MODEL: "large_base"}) as found:
        yield found


@pytest.fixture
def settings(tiny_settings: Settings, server: Completions) -> Settings:
    """Settings with the large base on the server, and time enough for a busy machine."""
    return replace(tiny_settings, base_url=server.url, base_answer_s=60.0)


def engine_of(family: Family, settings: Settings) -> Engine:
    models = load_models(family, torch.float32, settings=settings)
    return Engine(models, family.stop_ids, settings, family.token_bytes, family.banned_ids)


def remote_engine(settings: Settings) -> tuple[Family, Engine]:
    family = load_family(find_entry("tiny", settings), settings)
    engine = engine_of(family, settings)
    assert isinstance(engine.models["large_base"], RemoteModel)
    return family, engine


def wait_only(engine: Engine, answer_s: float) -> None:
    """From now on, wait no longer than this for an answer."""
    model = engine.models["large_base"]
    assert isinstance(model, RemoteModel)
    model._server.settings = replace(model._server.settings, base_answer_s=answer_s)


def prompts_of(family: Family) -> dict[str, tuple[int, ...]]:
    return {role: tuple(encode_prompt(family, role, QUESTION)) for role in family.roles}


def own_file(tiny_assets: Path, folder: Path, roles: Mapping[str, Mapping[str, str]]) -> Path:
    """A family file of one's own with the tiny models, except for these roles."""
    tiny = tiny_assets / "tiny"
    table = yaml.safe_load((tiny / "family.yaml").read_text())
    table["roles"] = {**{role: str(tiny / role) for role in table["roles"]}, **roles}
    shutil.copy(tiny / "tokenizer.json", folder)
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump({**table, "bos": None, "tokenizer": "tokenizer.json"}))
    return file


def ask(family: Family, engine: Engine, **fields: Any) -> list[ColumnTrace]:
    fields = {"columns": three("assistant"), "sampling": WARM, "length": LENGTH, **fields}
    return finished(engine, make_request(prompts_of(family), controls={"alpha": 1.5}, **fields))


def assert_same(found: list[ColumnTrace], expected: list[ColumnTrace]) -> None:
    assert [ids_of(column) for column in found] == [ids_of(column) for column in expected]
    assert [column.error for column in found] == [None] * len(expected)
    for one, other in zip(found, expected, strict=True):
        for mine, theirs in zip(one.tokens, other.tokens, strict=True):
            assert mine.logprob == pytest.approx(theirs.logprob, abs=1e-4)
            assert mine.by_role == pytest.approx(theirs.by_role, abs=1e-4)


# -- the same texts --


@every_speculation
@pytest.mark.parametrize("sampling", [WARM, Sampling(temperature=0)], ids=["warm", "greedy"])
def test_texts_and_log_probs_are_those_of_the_model_here(
    tiny_family: Family, settings: Settings, speculation: str, sampling: Sampling
) -> None:
    here = ask(tiny_family, engine_of(tiny_family, settings), sampling=sampling)
    family, engine = remote_engine(settings)
    found = ask(family, engine, sampling=sampling, speculation=speculation)
    assert_same(found, here)
    assert len(ids_of(found[0])) > 4
    if speculation != "off":
        assert any(record.draft for record in found[2].tokens)


@every_speculation
def test_two_models_of_one_server_in_every_kind_of_recipe(
    tiny_assets: Path, tiny_settings: Settings, tiny_family: Family, tmp_path: Path, speculation: str
) -> None:
    columns = tuple(
        (text, parse(text))
        for text in (
            "large_tuned",
            "small_base + alpha*(large_tuned - large_base)",
            "assistant + alpha*(large_base - small_base)",
            "large_base + alpha*(assistant - small_base) + 0.5*(pirate - small_base)",
        )
    )
    here = ask(tiny_family, engine_of(tiny_family, tiny_settings), columns=columns)
    with serving(tiny_assets / "tiny", {"base": "large_base", "tuned": "large_tuned"}) as server:
        roles = {
            "large_base": {"url": server.url, "model": "base"},
            "large_tuned": {"url": server.url, "model": "tuned"},
        }
        family = load_family(read_entry(own_file(tiny_assets, tmp_path, roles)), tiny_settings)
        assert family.vocab == tiny_family.vocab
        engine = engine_of(family, tiny_settings)
        assert_same(ask(family, engine, columns=columns, speculation=speculation), here)


def test_a_given_text_is_read_and_continued_as_here(tiny_family: Family, settings: Settings) -> None:
    forced = tuple(range(40, 60))  # more than one chunk
    here = ask(tiny_family, engine_of(tiny_family, settings), forced=forced, length=30)
    family, engine = remote_engine(settings)
    assert_same(ask(family, engine, forced=forced, length=30), here)


def test_a_step_is_one_request_and_equal_texts_are_asked_once(
    settings: Settings, server: Completions
) -> None:
    family, engine = remote_engine(settings)
    server.asked.clear()
    columns = (("Base", BASE), ("Same", BASE), ("Up", UPSCALED.for_behaviour("assistant")))
    found = ask(family, engine, columns=columns, length=6)
    assert len(server.asked) == 1 + 6  # the prompt, then a request per token
    prompt = list(prompts_of(family)["large_base"])
    assert server.asked[0]["prompt"] == [prompt[:-1]] and server.asked[1]["prompt"] == [prompt]
    assert all(body["max_tokens"] == 1 and body["temperature"] == 0 for body in server.asked)
    assert ids_of(found[0]) == ids_of(found[1])
    assert {len(body["prompt"]) for body in server.asked} <= {1, 2}


def test_models_here_run_while_the_server_works(
    settings: Settings, server: Completions, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, engine = remote_engine(settings)
    asked, ran = Event(), Event()
    answer, small = server.answer, engine.models["small_base"]
    forward = small.forward
    together = []

    def answer_after_small(handler: Any, body: dict[str, Any]) -> None:
        asked.set()
        together.append(ran.wait(PATIENCE_S))
        answer(handler, body)

    def forward_after_asked(*args: Any, **options: Any) -> torch.Tensor:
        together.append(asked.wait(PATIENCE_S))
        ran.set()
        return forward(*args, **options)

    up = (("Up", parse("large_base + alpha*(small_base - small_base)")),)
    request = make_request(
        prompts_of(family), columns=up, sampling=WARM, controls={"alpha": 1.0}, length=LENGTH
    )
    run = engine.submit(request)
    while not any(isinstance(event, TokenEvent) for event in run.events()):
        engine.step()
    monkeypatch.setattr(server, "answer", answer_after_small)
    monkeypatch.setattr(small, "forward", forward_after_asked)
    engine.step()
    run.cancel()
    assert together == [True, True]


@contextmanager
def answers_held(server: Completions, monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """From now on the server answers only once the event is set."""
    answer, go = server.answer, Event()

    def answer_late(handler: Any, body: dict[str, Any]) -> None:
        assert go.wait(PATIENCE_S)
        answer(handler, body)

    monkeypatch.setattr(server, "answer", answer_late)
    yield go
    go.set()


@pytest.mark.parametrize("begun", [0, 3])
@every_speculation
def test_while_an_answer_is_late_other_columns_go_on(
    settings: Settings, server: Completions, monkeypatch: pytest.MonkeyPatch, begun: int, speculation: str
) -> None:
    family, engine = remote_engine(settings)
    whole = ask(family, engine, speculation=speculation)
    asked = make_request(
        prompts_of(family), three("assistant"), {"alpha": 1.5}, WARM, LENGTH, speculation=speculation
    )
    run, traces, before = engine.submit(asked), empty_traces(asked.spec.columns), len(server.asked)

    def step() -> bool:
        went_on = engine.step()
        for event in run.events():
            add_event(traces, event)
        return went_on

    model = engine.models["large_base"]
    assert isinstance(model, RemoteModel)
    # No answer is late before it is held.
    usual_s, model._answers.patience_s = model._answers.patience_s, PATIENCE_S
    while len(server.asked) < before + begun:
        step()
    model._answers.patience_s = usual_s
    with answers_held(server, monkeypatch) as go:
        until(lambda: bool((step(), traces[1].finish_reason)[1]))
        assert not traces[0].finish_reason and not traces[2].finish_reason
        late = engine.late_of(run)
        assert late is not None and late[0] == "large_base" and late[1] > 0
        assert not step() and engine.rest_s < 1 and len(server.asked) == before + begun + 1
        go.set()
        until(lambda: (step(), run.done)[1])
    assert_same(traces, whole)
    assert engine.late_of(run) is None and engine.active_sequences == 0


@pytest.mark.parametrize("fields", [{}, {"speculation": "on 4"}, {"forced": (5, 9, 200, 31)}])
def test_texts_are_the_same_when_every_answer_is_late(
    tiny_family: Family, tiny_settings: Settings, settings: Settings, fields: dict[str, Any]
) -> None:
    family, engine = remote_engine(settings)
    model = engine.models["large_base"]
    assert isinstance(model, RemoteModel)
    model._answers.patience_s = 0.0
    assert_same(
        ask(family, engine, **fields), ask(tiny_family, engine_of(tiny_family, tiny_settings), **fields)
    )
    assert engine.active_sequences == 0


def test_rows_roll_back_copy_save_and_restore(settings: Settings, server: Completions) -> None:
    _, engine = remote_engine(settings)
    model = engine.models["large_base"]
    assert isinstance(model, RemoteModel)
    first, second = model.join(), model.join()
    model.forward([first], torch.tensor([[5, 6, 7, 8]]))
    expected = model.forward([first], torch.tensor([[9, 10]]), keep=2)
    first.length = 4
    model.forward([first], torch.tensor([[11]]))
    first.length = 4
    model.copy_prefix(first, second)
    found = model.forward([first, second], torch.tensor([[9, 10], [9, 12]]), keep=2)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1, 0], expected[0, 0])
    assert not torch.equal(found[1, 1], expected[0, 1])
    assert model.save(first, 8) is None and (saved := model.save(first, 1000)) is not None
    model.leave(second)
    model.leave(second)
    third = model.join()
    model.restore(third, saved, 5)
    assert third.index == 1 and third.length == 5
    assert torch.equal(model.forward([third], torch.tensor([[10]]))[0], expected[0, 1:])
    with pytest.raises(ValueError, match="context"):
        model.forward([third], torch.tensor([[1] * 200]))
    model.reset()
    assert model.join().index == 0


# -- faults --


def strike_once(family: Family, engine: Engine, server: Completions, fault: str, speculation: str) -> float:
    """Let the fault strike in the middle of a run: only what needs the server ends, and the next run works.

    Returns the seconds from the fault to the end of the columns that it ends.
    """
    whole = ask(family, engine, speculation=speculation)
    request = make_request(
        prompts_of(family), three("assistant"), {"alpha": 1.5}, WARM, LENGTH, speculation=speculation
    )
    run = engine.submit(request)
    asked = len(server.asked)
    while len(server.asked) < asked + 3:  # the prompt and at least two tokens
        engine.step()
    server.strike(fault)
    wait_only(engine, 0.3 if fault in SILENT else 60.0)
    traces, struck_s = empty_traces(request.spec.columns), time.perf_counter()
    said_s = 0.0
    while engine.step() or not run.done:
        for event in run.events():
            add_event(traces, event)
        if not said_s and traces[0].finish_reason and traces[2].finish_reason:
            said_s = time.perf_counter() - struck_s
    for event in run.events():
        add_event(traces, event)
    base, tuned, upscaled = traces
    for broken, before in ((base, whole[0]), (upscaled, whole[2])):
        assert broken.finish_reason == "error" and broken.error
        assert "large_base" in broken.error and f"127.0.0.1:{server.port}" in broken.error
        assert FAULTS[fault] in broken.error and "Please" in broken.error
        assert 0 < len(broken.tokens) < len(before.tokens)
        assert ids_of(broken) == ids_of(before)[: len(broken.tokens)]
    assert ids_of(tuned) == ids_of(whole[1]) and tuned.error is None
    server.heal()
    wait_only(engine, 60.0)
    again: list[ColumnTrace] = []

    def works() -> bool:
        again[:] = ask(family, engine, speculation=speculation)
        return not any(column.error for column in again)

    until(works)
    assert_same(again, whole)
    return said_s


@pytest.mark.parametrize(
    ("fault", "speculation"),
    [*((fault, "off") for fault in FAULTS), ("refused", "on"), ("hang", "on"), ("nan", "on"), ("more", "on")],
)
def test_a_fault_ends_only_the_columns_that_need_the_server(
    settings: Settings, server: Completions, fault: str, speculation: str
) -> None:
    strike_once(*remote_engine(settings), server, fault, speculation)


@pytest.mark.exhaustive
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_twenty_times_leaves_nothing_behind(
    settings: Settings, server: Completions, fault: str
) -> None:
    family, engine = remote_engine(settings)
    strike_once(family, engine, server, fault, "off")
    threads = threading.active_count()
    said = [strike_once(family, engine, server, fault, "off") for _ in range(20)]
    assert max(said) < 2
    until(lambda: threading.active_count() <= threads)
    assert not engine.active_sequences


@pytest.mark.parametrize("fault", ["429", "500", "garbage", "cut"])
def test_a_fault_that_passes_is_not_noticed(settings: Settings, server: Completions, fault: str) -> None:
    family, engine = remote_engine(settings)
    whole = ask(family, engine)
    server.strike(fault, 2)
    assert_same(ask(family, engine), whole)
    assert server.strikes < 0


def test_a_server_that_comes_back_on_its_port_is_used_again(settings: Settings, server: Completions) -> None:
    family, engine = remote_engine(settings)
    whole = ask(family, engine)
    server.stop()
    server.start()  # kept connections lead nowhere
    assert_same(ask(family, engine), whole)


def test_while_the_server_is_silent_columns_do_not_wait_for_it_one_after_another(
    settings: Settings, server: Completions
) -> None:
    family, engine = remote_engine(settings)
    server.strike("hang")
    wait_only(engine, 1.0)
    server.asked.clear()
    columns = ask(family, engine, columns=tuple((str(i), BASE) for i in range(4)))
    assert all(column.error for column in columns)
    assert len(server.asked) == 1


# -- connecting --


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("more", "unequal")])
def test_a_faulty_server_is_refused_when_connecting(
    settings: Settings, server: Completions, fault: str
) -> None:
    server.strike(fault)
    with pytest.raises(RemoteError) as caught:
        open_family("tiny", replace(settings, base_answer_s=0.3) if fault in SILENT else settings)
    assert FAULTS[fault] in str(caught.value) or fault == "few"
    assert "large_base" in str(caught.value)
    server.heal()
    assert open_family("tiny", settings).models


def test_a_server_with_few_log_probs_is_refused_with_the_option_to_start_it(
    settings: Settings, server: Completions
) -> None:
    server.strike("few")
    with pytest.raises(RemoteError, match="--max-logprobs -1"):
        open_family("tiny", settings)


def test_another_vocabulary_is_refused(tiny_assets: Path, settings: Settings, server: Completions) -> None:
    server.models = {MODEL: lambda tokens: torch.zeros(1, tokens.shape[1], 300)}
    with pytest.raises(RemoteError, match=r"300 log-probs.* 3\d\d tokens"):
        open_family("tiny", settings)


def test_another_tokenizer_is_refused(tiny_family: Family, settings: Settings, server: Completions) -> None:
    server.tokenize = lambda text: tiny_family.codec.encode(text)
    assert open_family("tiny", settings).models
    server.tokenize = lambda text: [*tiny_family.codec.encode(text)[1:], 1]
    with pytest.raises(RemoteError, match="tokenizer"):
        open_family("tiny", settings)
    assert tiny_family.codec.tokenizer.decode(tiny_family.codec.encode(PROBE)) == PROBE


def test_the_model_is_found_by_name(settings: Settings, server: Completions) -> None:
    with pytest.raises(RemoteError, match="tiny/large.*EFT_BASE_MODEL"):
        open_family("tiny", replace(settings, base_model="other"))
    assert open_family("tiny", replace(settings, base_model=MODEL)).models
    server.models = {**server.models, "second": next(iter(server.models.values()))}
    with pytest.raises(RemoteError, match="second.*EFT_BASE_MODEL"):
        open_family("tiny", settings)
    server.models = dict.fromkeys(map(str, range(300)), server.models[MODEL])
    with pytest.raises(RemoteError, match="'9' and 290 more.*EFT_BASE_MODEL"):
        open_family("tiny", settings)


def test_the_servers_own_limit_shortens_the_context(settings: Settings, server: Completions) -> None:
    server.max_model_len = 60
    opened = open_family("tiny", settings)
    assert opened.models["large_base"].context == 59
    assert "59 of 128" in opened.chips[1]
    server.max_model_len = 8
    for speaks, option in (("vllm", "max-model-len"), ("sglang", "context-length"), ("llamacpp", "ctx-size")):
        server.speaks = speaks
        with pytest.raises(RemoteError, match=f"--{option} 128"):
            open_family("tiny", settings)
    server.speaks = "vllm"
    server.max_model_len = None
    assert open_family("tiny", settings).models["large_base"].context == 128


def test_values_that_are_no_log_probs_are_refused(settings: Settings, server: Completions) -> None:
    whole = server.completion

    def shifted(body: dict[str, Any]) -> dict[str, Any]:
        answer = whole(body)
        for choice in answer["choices"]:
            (table,) = choice["logprobs"]["top_logprobs"]
            table |= {key: value + 3 for key, value in table.items()}
        return answer

    server.completion = shifted  # type: ignore[method-assign]
    with pytest.raises(RemoteError, match="raw_logprobs"):
        open_family("tiny", settings)


# -- what people see --


def test_chips_plan_doctor_and_trace_say_where_the_model_is(settings: Settings, server: Completions) -> None:
    from eft_demo.lab.doctor import examine  # noqa: PLC0415

    service = Service.load(settings, "tiny")
    try:
        run = service.start_run(spec("Who?", length=3))
        trace = make_trace(service, run.request.spec, collect(run))
    finally:
        service.stop()
    where = f"remote, vLLM 0.32.0 at 127.0.0.1:{server.port}"
    assert where in service.chips
    assert service.plan is not None and service.plan.of("large_base").weights_bytes == 0
    assert set(service.plan.needed_bytes) == {"cpu"}
    assert trace.made_with is not None
    made = trace.made_with.models["large_base"]
    assert made.device == "remote" and f"127.0.0.1:{server.port}" in made.source and not made.revision
    assert made.quantisation == "none" and not made.dtype
    lines = {check.name: check for check in examine(settings, "tiny")}
    assert where in lines["one token"].detail and lines["one token"].ok
    assert f"remote, on the server 127.0.0.1:{server.port}" in lines["plan"].detail
    server.strike("refused")
    lines = {check.name: check for check in examine(settings, "tiny")}
    assert not lines["one token"].ok and "cannot be reached" in lines["one token"].detail


def test_the_key_goes_to_its_server_alone_and_is_never_shown(
    tiny_assets: Path, settings: Settings, server: Completions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = replace(settings, base_key=KEY)
    service = Service.load(settings, "tiny")
    try:
        run = service.start_run(spec("Who?", length=3))
        trace = make_trace(service, run.request.spec, collect(run))
        assert server.keys and set(server.keys) == {f"Bearer {KEY}"}
        server.strike("401")
        texts = [column.error for column in collect(service.start_run(spec("Who?", length=3)))]
        assert "does not accept this key" in str(texts)
    finally:
        service.stop()
    shown = [
        repr(settings),
        repr(service),
        trace.to_json(),
        repr(service.chips),
        caplog.text,
        *map(str, texts),
    ]
    shown += [repr(vars(service.engine.models["large_base"])), repr(service.plan)]
    assert not [text for text in shown if KEY in text or "secret" in text]


def test_a_family_files_own_server_does_not_get_the_key(
    tiny_assets: Path, settings: Settings, tmp_path: Path
) -> None:
    with serving(tiny_assets / "tiny", {MODEL: "large_base"}) as other:
        file = own_file(tiny_assets, tmp_path, {"large_tuned": {"url": other.url}})
        opened = open_family(str(file), replace(settings, base_key=KEY))
        assert isinstance(opened.models["large_tuned"], RemoteModel)
        assert other.keys and set(other.keys) == {None}


@pytest.mark.parametrize(
    "url",
    ["http://me:hunter2@host/v1", "host:8000/v1", "ftp://hunter2", "http://host:hunter2/v1", "http://",
     "http://host/v1?key=hunter2", "http://host/v1#hunter2", "http://ho st/hunter2", "http://host/\x07hunter2",
     "http://höst.example/hunter2", "http://[::1/hunter2", "me:hunter2@host:1", "http://gpu..lab/hunter2",
     "http://.:8000/hunter2", f"http://{'a' * 64}.example/hunter2"],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_refused_unseen(url: str, tmp_path: Path, tiny_assets: Path) -> None:
    with pytest.raises(InputError, match="--base-url") as caught:
        Settings().changed({"base_url": url}, {"base_url": "--base-url"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(FamilyError, match=r"large_base\.url") as refused:
        read_entry(own_file(tiny_assets, tmp_path, {"large_base": {"url": url}}))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("host", ["xn--", "[v1.x]"])
def test_an_address_that_no_request_can_have_is_a_sentence(tiny_settings: Settings, host: str) -> None:
    settings = replace(tiny_settings, base_url=f"http://{host}:8000/v1")
    with pytest.raises(RemoteError, match="has an address that cannot be used .*Please check"):
        open_family("tiny", settings)


def test_urls_are_written_alike() -> None:
    for text in ("http://Host:8000", " http://host:8000/ ", "http://host:8000/v1/", "http://host:8000/v1"):
        assert Settings(base_url=text).base_url == "http://host:8000/v1"
    assert Settings(base_url="https://[::1]:9/a/v1").base_url == "https://[::1]:9/a/v1"
    with pytest.raises(InputError, match="EFT_BASE_KEY") as caught:
        Settings(base_key=f"{KEY}\n")
    assert KEY not in str(caught.value)
    with pytest.raises(InputError, match="EFT_BASE_URL"):
        Settings(base_url="http://host", family="auto")


@pytest.mark.parametrize(
    ("role", "change", "names"),
    [
        ("large_base", {"model": "x", "path": "large_base"}, "url"),
        ("large_base", {"url": "http://h/v1", "path": "large_base"}, "url of a server"),
        ("pirate", {"url": "http://h/v1", "adapter_of": "small_base"}, "adapter"),
    ],
)
def test_family_files_that_make_no_sense_are_refused(
    tiny_assets: Path, tmp_path: Path, role: str, change: dict[str, str], names: str
) -> None:
    with pytest.raises(FamilyError, match=names):
        read_entry(own_file(tiny_assets, tmp_path, {role: change}))


def test_an_adapter_needs_its_base_here(tiny_assets: Path, tmp_path: Path) -> None:
    roles = {"large_tuned": {"path": "large_tuned", "adapter_of": "large_base"}}
    with pytest.raises(FamilyError, match="EFT_BASE_URL.*large_tuned"):
        find_entry(str(own_file(tiny_assets, tmp_path, roles)), Settings(base_url="http://h/v1"))
    with pytest.raises(FamilyError, match="large_tuned.*server"):
        read_entry(own_file(tiny_assets, tmp_path, {**roles, "large_base": {"url": "http://h/v1"}}))


def test_a_role_that_is_the_same_model_has_rows_of_its_own_on_the_server(
    tiny_assets: Path, settings: Settings, tmp_path: Path, server: Completions
) -> None:
    same = {"same_as": "large_base", "prompt": "Be brief. {prompt}"}
    models = open_family(str(own_file(tiny_assets, tmp_path, {"large_tuned": same})), settings).models
    one, other = models["large_base"], models["large_tuned"]
    assert isinstance(other, RemoteModel) and other is not one
    assert torch.equal(first_row(one), first_row(other))


def first_row(model: LanguageModel) -> torch.Tensor:
    return model.forward([model.join()], torch.tensor([[5, 6]]))


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert open_family("tiny", settings).models


def test_a_proxy_of_the_environment_is_named_when_it_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    far = replace(settings, base_url="http://base.example:8000/v1", base_key=KEY, base_tries=1)
    monkeypatch.setenv("HTTP_PROXY", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(EFTError, match="HTTP_PROXY") as caught:
        open_family("tiny", far)
    monkeypatch.setenv("HTTP_PROXY", "nonsense://hunter2")
    with pytest.raises(EFTError, match="HTTP_PROXY") as other:
        open_family("tiny", far)
    assert "hunter2" not in str(caught.value) and KEY not in f"{caught.value} {other.value}"


# -- a real server --


@pytest.mark.remote
@every_speculation
@pytest.mark.parametrize("top", [0, 5, 20, 100])
def test_a_real_server_writes_the_texts_of_the_bundled_large_base(
    pytestconfig: pytest.Config, top: int, speculation: str
) -> None:
    near = Settings(dtype="fp32", threads=1)
    changes = {"base_url": pytestconfig.getoption("--remote"), "base_top": top}
    far = near.changed(changes, dict.fromkeys(changes, "--remote"))
    columns = (("Base", BASE), ("Tuned", TUNED), ("Up-scaled", UPSCALED))
    traces = []
    for settings in (near, far):
        service = Service.load(settings, "atlas")
        try:
            asked = [
                spec(prompt, columns=columns, seed=seed, length=40, speculation=speculation)
                for seed, prompt in enumerate(("What is the capital of Kenya?", "What is 2+2?"))
            ]
            runs = [service.start_run(one) for one in asked]
            traces.append([column for run in runs for column in collect(run)])
        finally:
            service.stop()
    here, found = traces
    assert "remote" in str(service.chips)
    assert [ids_of(column) for column in found] == [ids_of(column) for column in here]
    if not top:
        assert_same(found, here)
    records = [record for column in found for record in column.tokens]
    assert all(record.cut is None or record.cut.certain for record in records)
