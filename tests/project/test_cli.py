"""The command line gives the right output and exit code, and a message for every user error."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eft_demo import cli
from eft_demo.engine.decode import Decoder
from eft_demo.errors import EFTError
from eft_demo.lab import app_start, bench, doctor, vocabulary
from eft_demo.runs.trace import RunTrace
from eft_demo.settings import Settings
from tests.checkpoints import make_real_family
from tests.command_line import run_cli

Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--family", "tiny", "--max-new-tokens", "4", "--temperature", "0")


@pytest.fixture(autouse=True)
def tiny_environment(monkeypatch: Patch, tiny_assets: Path) -> None:
    """Set the tiny family in the environment, where the command line reads its settings."""
    monkeypatch.setenv("EFT_ASSETS", str(tiny_assets))
    monkeypatch.setenv("EFT_DTYPE", "fp32")
    monkeypatch.setenv("EFT_THREADS", "1")


def test_generate_gives_the_three_columns(monkeypatch: Patch, capsys: Capture) -> None:
    assert run_cli(monkeypatch, "generate", "What is the capital of Peru?", *QUICK, "--json") == 0
    trace = RunTrace.from_json(capsys.readouterr().out)
    assert [column.name for column in trace.columns] == ["Base", "Tuned", "Up-scaled"]
    assert trace.spec.prompt == "What is the capital of Peru?" and trace.spec.family == "tiny"
    assert all(1 <= len(column.tokens) <= 4 for column in trace.columns)
    assert all(column.finish_reason in ("stop", "length") for column in trace.columns)


def test_generate_resolves_the_behaviour_in_recipes(monkeypatch: Patch, capsys: Capture) -> None:
    recipes = ("--recipe", "small_base", "--recipe", "large_base + 2*alpha*(small_tuned - small_base)")
    assert run_cli(monkeypatch, "generate", "Hi", *QUICK, *recipes, "--behaviour", "pirate", "--json") == 0
    trace = RunTrace.from_json(capsys.readouterr().out)
    assert [column.recipe for column in trace.columns] == [
        "small_base",
        "large_base + 2*alpha*(pirate - small_base)",
    ]


def test_alpha_zero_is_the_base_column(monkeypatch: Patch, capsys: Capture) -> None:
    # With or without drafts the tokens are the same; log-probs may differ in the last bit.
    options = ("--alpha", "0", "--speculation", "off", "--json")
    assert run_cli(monkeypatch, "generate", "Hi", *QUICK, *options) == 0
    base, _, upscaled = RunTrace.from_json(capsys.readouterr().out).columns
    assert [t.id for t in base.tokens] == [t.id for t in upscaled.tokens]
    assert [t.logprob for t in base.tokens] == [t.logprob for t in upscaled.tokens]


def test_the_same_seed_gives_the_same_text(monkeypatch: Patch, capsys: Capture) -> None:
    texts = []
    for _ in range(2):
        run_cli(monkeypatch, "generate", "Hi", *QUICK[:4], "--seed", "7", "--json")
        texts.append([column.text for column in RunTrace.from_json(capsys.readouterr().out).columns])
    assert texts[0] == texts[1]


def test_generate_accepts_every_control(monkeypatch: Patch, capsys: Capture) -> None:
    options = ("--weight-filter", "top-p 0.9", "--schedule", "first 2", "--min-p", "0.1")
    texts = []
    for speculation in ("off", "on 3"):
        arguments = ("generate", "Hi", "--family", "tiny", "--max-new-tokens", "9", *options)
        assert run_cli(monkeypatch, *arguments, "--speculation", speculation, "--json") == 0
        trace = RunTrace.from_json(capsys.readouterr().out)
        spec = trace.spec
        assert list(map(str, (spec.weight_filter, spec.schedule, spec.speculation))) == [
            "top-p 0.9",
            "first 2",
            speculation,
        ]
        assert spec.sampling.min_p == 0.1
        assert [t.controls["alpha"] for t in trace.columns[2].tokens][:3] == [1, 1, 0]
        assert (trace.columns[2].acceptance_rate is None) == (speculation == "off")
        texts.append([column.text for column in trace.columns])
    assert texts[0] == texts[1]
    assert run_cli(monkeypatch, *arguments, "--speculation", "on 3") == 0
    assert "% of drafts accepted, " in capsys.readouterr().out


@pytest.mark.parametrize("prompt", ["-5 + 3 = ?", "- one\n- two", "--- a line", "-?", "--5 is what?"])
def test_a_prompt_may_begin_with_a_dash(monkeypatch: Patch, capsys: Capture, prompt: str) -> None:
    assert run_cli(monkeypatch, "generate", prompt, *QUICK, "--json") == 0
    assert RunTrace.from_json(capsys.readouterr().out).spec.prompt == prompt


def test_a_prompt_that_looks_like_an_option_goes_after_two_dashes(
    monkeypatch: Patch, capsys: Capture
) -> None:
    assert run_cli(monkeypatch, "generate", "-x", *QUICK) == 2
    assert "-- TEXT" in " ".join(capsys.readouterr().err.replace("│", "").split())
    assert run_cli(monkeypatch, "generate", *QUICK, "--json", "--", "-x") == 0
    assert RunTrace.from_json(capsys.readouterr().out).spec.prompt == "-x"
    assert run_cli(monkeypatch, "generate", "-5 + 3", *QUICK, "--alhpa", "1") == 2


@pytest.mark.parametrize("option", [("--alpha", "-1"), ("--alpha=-1",), ("--recipe", "-small_base")])
def test_a_value_may_begin_with_a_dash(monkeypatch: Patch, capsys: Capture, option: tuple[str, ...]) -> None:
    assert run_cli(monkeypatch, "generate", "Hi", *QUICK, *option) == 2
    assert "option" not in capsys.readouterr().err


def test_generate_as_text_names_every_column(monkeypatch: Patch, capsys: Capture) -> None:
    assert run_cli(monkeypatch, "generate", "Hi", *QUICK) == 0
    out = capsys.readouterr().out
    assert "== Base: large_base\n" in out
    assert "== Up-scaled: large_base + alpha*(assistant - small_base)\n" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", ""], "prompt is empty"),
        (["generate", "x" * 5000], "limit is 4,000"),
        (["generate", "Hi", "--alpha", "nan"], "Alpha must be"),
        (["generate", "Hi", "--control", "alpha=2"], "use --alpha"),
        (["generate", "Hi", "--control", "alpha_x=1", "--control", "alpha_x=2"], "twice for alpha_x"),
        (["generate", "Hi", *["--prompt-format", "small_base:plain:{prompt}"] * 2], "twice for small_base"),
        (["generate", "Hi", "--alpha", "6"], "from 0 to 5"),
        (["generate", "Hi", "--alpha", "-1"], "undoes what tuning did"),
        (["generate", "Hi", "--weight-filter", "top-q 1"], "weight filter 'top-q 1' cannot be read"),
        (["generate", "Hi", "--schedule", "later"], "schedule 'later' cannot be read"),
        (["generate", "Hi", "--speculation", "on 9"], "from 0 to 8"),
        (["generate", "Hi", "--temperature", "inf"], "Temperature must be"),
        (["generate", "Hi", "--top-p", "0"], "Top-p must be"),
        (["generate", "Hi", "--seed", "-1"], "Seed must be"),
        (["generate", "Hi", "--max-new-tokens", "0"], "Length must be"),
        (["generate", "Hi", "--behaviour", "rude"], "no behaviour 'rude'"),
        (["generate", "Hi", "--recipe", "large_base + *(a - b)"], "character 14"),
        (["generate", "Hi", "--recipe", "huge_base"], "no model huge_base"),
        (["generate", "Hi", "--family", "nowhere"], "no family 'nowhere'"),
    ],
)
def test_a_user_error_is_a_message_and_exit_code_2(
    monkeypatch: Patch, capsys: Capture, arguments: list[str], said: str
) -> None:
    family = [] if "--family" in arguments else ["--family", "tiny"]
    assert run_cli(monkeypatch, *arguments, *family) == 2
    out, err = capsys.readouterr()
    assert said in err and "Traceback" not in err and out == ""


def test_a_control_that_changes_nothing_is_noted(monkeypatch: Patch, capsys: Capture) -> None:
    typed = ["--control", "alpha_dragon=2", "--max-new-tokens", "1", "--family", "tiny", "--json"]
    assert run_cli(monkeypatch, "generate", "Hi", *typed) == 0
    out, err = capsys.readouterr()
    assert "alpha_dragon" in err and json.loads(out)["controls"]["alpha_dragon"] == 2


def test_a_variable_that_names_no_setting_is_noted_once(monkeypatch: Patch, capsys: Capture) -> None:
    monkeypatch.setenv("EFT_DEADLINES_S", "1")
    assert run_cli(monkeypatch, "generate", "Hi", *QUICK, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) and err.count("\n") == 1
    assert "EFT_DEADLINES_S is not a setting" in err and "EFT_DEADLINE_S?" in err


def test_an_option_is_named_as_it_was_typed(monkeypatch: Patch, capsys: Capture) -> None:
    assert run_cli(monkeypatch, "generate", "Hi", *QUICK, "--quant", "int3") == 2
    assert "--quantisation must be one of" in capsys.readouterr().err


def test_a_bug_is_not_hidden(monkeypatch: Patch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "examine", broken)
    with pytest.raises(ZeroDivisionError):
        run_cli(monkeypatch, "doctor")


def test_doctor_reports_no_problem(monkeypatch: Patch, capsys: Capture) -> None:
    code = run_cli(monkeypatch, "doctor", "--family", "tiny", "--json")
    report = json.loads(capsys.readouterr().out)
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert code == 0 and report["ok"]
    names = {check["name"] for check in report["checks"]}
    assert {"torch", "memory", "cache", "dtype", "catalogue", "plan", "family", "one token"} <= names


def test_doctor_says_where_nothing_can_be_saved(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "cache_folder", lambda: tmp_path / "hub")
    assert "GB free" in doctor._cache(Settings())
    (tmp_path / "file").touch()
    monkeypatch.setattr(doctor, "cache_folder", lambda: tmp_path / "file" / "hub")
    assert "HF_HOME" in doctor._cache(Settings()) and "GB free" not in doctor._cache(Settings())


def test_doctor_goes_on_when_something_is_broken(monkeypatch: Patch, capsys: Capture) -> None:
    assert run_cli(monkeypatch, "doctor", "--family", "nowhere") == 1
    out = capsys.readouterr().out
    assert "FAIL family" in out and "FAIL one token" in out and "ok   dtype" in out


def test_doctor_reports_a_family_that_is_not_downloaded_without_downloading_it(
    monkeypatch: Patch, capsys: Capture
) -> None:
    family = ROOT / "assets" / "families" / "smollm2-tiny.yaml"
    assert run_cli(monkeypatch, "doctor", "--family", str(family), "--quantisation", "nf4") == 1
    out = capsys.readouterr().out
    assert "ok   plan" in out and "nf4 on cpu" in out
    assert "FAIL one token" in out and "is not downloaded yet" in out


def test_generate_takes_a_family_file(
    monkeypatch: Patch, capsys: Capture, tiny_assets: Path, tmp_path: Path
) -> None:
    own = tmp_path / "mine" / "family.yaml"
    shutil.copytree(tiny_assets / "tiny", own.parent)
    own.write_text("tokenizer: tokenizer.json\n" + own.read_text())
    asked = ("generate", "Hi", "--family", str(own), "--max-new-tokens", "2", "--recipe", "small_tuned")
    assert run_cli(monkeypatch, *asked, "--quantisation", "nf4", "--json") == 0
    assert RunTrace.from_json(capsys.readouterr().out).columns[0].recipe == "assistant"
    own.write_text(own.read_text().replace("tokenizer: tokenizer.json", "tokenizer: other.json"))
    assert run_cli(monkeypatch, *asked) == 2
    assert "line 1: tokenizer must be one of the roles or a file" in capsys.readouterr().err


def test_quantisation_is_reported(monkeypatch: Patch, capsys: Capture) -> None:
    assert run_cli(monkeypatch, "quantisation", "nf4", "--family", "tiny", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["quantisation"] == "nf4" and 0 < result["mean_kl_nats"] < 1


def test_bench_measures_every_figure(tiny_assets: Path) -> None:
    settings = Settings(assets=tiny_assets, dtype="fp32", threads=1)
    measured = bench.bench(settings, "tiny", pairs=3, new_tokens=8, start_app=False, larger=False)
    result = json.loads(json.dumps(measured))
    ends = ("_s", "_stream", "_columns", "_cpu", "_each", "_on", "_auto", "_time")
    figures = [v for name, v in result["trios"][0].items() if name.endswith(ends) and "rate" not in name]
    assert len(figures) >= 12 and all(value > 0 for value in figures)
    table = bench.to_markdown(result)
    assert "three columns / one up-scaled stream" in table and "nan" not in table


def test_bench_measures_a_step_at_a_vocabulary(monkeypatch: Patch, capsys: Capture) -> None:
    tiny = vocabulary.Architecture("Tiny", "llama", 9000, 64, 1, 64, 2, 1, 32)
    measure = partial(vocabulary.bench_vocabulary, architectures=[tiny], rounds=1)
    monkeypatch.setattr(vocabulary, "bench_vocabulary", measure)
    assert run_cli(monkeypatch, "bench", "--vocabulary", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["architectures"]
    assert found["vocab"] == 9000 and set(found["share"]) == set(vocabulary.SPREADS)
    assert found["forward_s"] > 0 and all(found["step_s"].values()) and all(found["share"].values())
    assert run_cli(monkeypatch, "bench", "--vocabulary") == 0
    assert "| vocabulary | 9,000 |" in capsys.readouterr().out


def test_bench_asks_for_the_family_file_of_real_checkpoints(
    monkeypatch: Patch, capsys: Capture, tmp_path: Path
) -> None:
    assert run_cli(monkeypatch, "bench", "--real", str(tmp_path)) == 2
    assert "family.yaml" in capsys.readouterr().err


def test_generate_says_when_no_model_reads_the_system_prompt(
    monkeypatch: Patch, capsys: Capture, tmp_path: Path
) -> None:
    assert run_cli(monkeypatch, "generate", "Hi", *QUICK, "--system", "Be brief.") == 0
    assert "--system changes nothing" in capsys.readouterr().err
    chatty = ("--family", str(make_real_family(tmp_path, "qwen2")), "--max-new-tokens", "2")
    assert run_cli(monkeypatch, "generate", "Hi", *chatty, "--system", "Be brief.") == 0
    assert "changes nothing" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "ignored"),
    [
        (["--users", "2", "--family", "tiny"], "--family"),
        (["--soak", "--users", "2"], "--users"),
        (["--vocabulary", "--pairs", "5", "--real", "folder"], "--pairs and --real"),
        (["--real", "folder", "--new-tokens", "9", "--no-larger"], "--no-larger"),
    ],
)
def test_bench_refuses_options_that_a_measurement_would_ignore(
    monkeypatch: Patch, capsys: Capture, options: list[str], ignored: str
) -> None:
    """Its figures would be taken for those of the family that was named."""
    assert run_cli(monkeypatch, "bench", *options) == 2
    assert f"does not use {ignored}. Please leave out {ignored}, or {options[0]}." in capsys.readouterr().err


@pytest.mark.parametrize("others", [["--estimate"], ["--quant", "nf4", "--base-url", "http://h:8000/v1"]])
def test_pinning_refuses_options_that_it_would_ignore(
    monkeypatch: Patch, capsys: Capture, others: list[str]
) -> None:
    assert run_cli(monkeypatch, "doctor", "--pin", *others) == 2
    assert f"does not use {' and '.join(others[::2])}" in capsys.readouterr().err


def test_ctrl_c_ends_bench_in_silence(
    monkeypatch: Patch, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """A real SIGINT, inside a step of the engine."""
    step = Decoder.step
    calls = iter(range(1000))

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is threading.main_thread() and next(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return step(*arguments, **options)

    monkeypatch.setattr(Decoder, "step", interrupted)
    # As in a shell: a server that another test started in this process may have left its own handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    quick = ("--pairs", "3", "--new-tokens", "8", "--no-larger", "--no-start-app", "--family", "tiny")
    try:
        assert run_cli(monkeypatch, "bench", *quick) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err and "KeyboardInterrupt" not in caplog.text


def test_compare_alternates_runs() -> None:
    order: list[str] = []

    def way(name: str, wall_s: float) -> bench.Variant:
        def run() -> bench.Timing:
            order.append(name)
            return bench.Timing(wall_s, wall_s, 0.0)

        return run

    result = bench.compare(way("a", 3.0), way("b", 2.0), 4)
    assert "".join(order) == "ab" + "abbaabba"  # the first two warm up and do not count
    assert result.ratio == result.cpu_ratio == 1.5 and result.first.wall_s == 3.0


def test_an_app_that_exits_is_an_error_and_not_a_timing(tmp_path: Path) -> None:
    broken = tmp_path / "app.py"
    broken.write_text("raise SystemExit('no weights')")
    with pytest.raises(EFTError, match=r"by hand.*app\.py"):
        app_start.app_start_s((sys.executable, str(broken)))


@pytest.mark.parametrize(
    "command", ["generate", "evaluate", "bench", "train-atlas", "doctor", "quantisation"]
)
def test_every_command_has_help_and_json(monkeypatch: Patch, capsys: Capture, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_cli(monkeypatch, command, "--help") == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "variable", "offered"),
    [([], "", False), (["--api"], "", True), ([], "1", True), ([], "0", False)],
)
def test_the_endpoints_are_off_unless_asked_for(
    monkeypatch: Patch, words: list[str], variable: str, offered: bool
) -> None:
    started: list[Settings] = []
    monkeypatch.setattr("eft_demo.ui.page.open_page", lambda *_: None)
    monkeypatch.setattr("eft_demo.ui.server.launch", lambda _, settings: started.append(settings))
    monkeypatch.setenv("EFT_API", variable)
    assert run_cli(monkeypatch, "start", *words) == 0
    assert [settings.api for settings in started] == [offered]


def test_without_the_package_mcp_its_command_says_how_to_install_it(
    monkeypatch: Patch, capsys: Capture
) -> None:
    for name in ("mcp", *(name for name in sys.modules if name.startswith("mcp."))):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "eft_demo.mcp_server", raising=False)
    assert run_cli(monkeypatch, "mcp", "--family", "tiny") == 2
    assert 'pip install "mcp>=2.3,<3"' in capsys.readouterr().err
    assert run_cli(monkeypatch, "mcp", "--family", "none-such") == 2
    assert "none-such" in capsys.readouterr().err


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; from eft_demo import cli; sys.exit('torch' in sys.modules or 'gradio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("command", [["generate", "Hi"], ["doctor", "--pin"], ["quantisation"], ["bench"]])
def test_every_command_takes_a_family_file(monkeypatch: Patch, capsys: Capture, command: list[str]) -> None:
    assert run_cli(monkeypatch, *command, "--family-file", "missing.yaml") in (1, 2)
    said = capsys.readouterr()
    assert "missing.yaml cannot be read" in said.out + said.err


def test_ctrl_c_before_the_command_has_begun_shows_no_traceback(monkeypatch: Patch, capsys: Capture) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt  # as while the options are read

    monkeypatch.setattr(cli, "prepare_streams", lambda: None)
    monkeypatch.setattr(sys, "argv", ["eft_demo", "generate", "Hi"])
    with pytest.raises(SystemExit) as ended:
        cli.main(interrupted)  # type: ignore[arg-type]
    assert ended.value.code == 130 and capsys.readouterr().err == ""
