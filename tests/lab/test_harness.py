"""What a harness asks of a recipe: the log-probs of transformers, texts up to a string, every token once."""

import sys
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2ForCausalLM

from eft_demo.engine.collect import collect
from eft_demo.engine.run import RunRequest
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.families.family import encode_prompt
from eft_demo.lab import harness
from eft_demo.lab.harness import Asked, alike, asked, encode, framed, harness_settings, score, windows, write
from eft_demo.method.recipe import BASE, TUNED, UPSCALED
from eft_demo.method.sampling import Sampling
from eft_demo.runs.spec import RunSpec, check
from eft_demo.settings import Settings
from tests.command_line import run_cli

TEXT = "User: What is the capital of Peru?\nAssistant:"


@pytest.fixture(scope="module")
def service(tiny_settings: Settings) -> Iterator[Service]:
    service = Service.load(harness_settings(tiny_settings, 128), "tiny")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def base(service: Service) -> Asked:
    return asked(service, BASE, {})


def by_transformers(service: Service, role: str, before: Sequence[int], after: Sequence[int]) -> torch.Tensor:
    """(len(after), vocab) log-probs."""
    model = Qwen2ForCausalLM.from_pretrained(service.settings.assets / "tiny" / role).eval()
    with torch.no_grad():
        rows: torch.Tensor = model(torch.tensor([[*before, *after]])).logits[0].log_softmax(-1)
    return rows[len(before) - 1 : -1]


def test_scores_are_those_of_transformers(service: Service, base: Asked) -> None:
    before, after = encode(base, TEXT), encode(base, " Lima is it.")
    rows = by_transformers(service, "large_base", before, after)
    ((total, greedy),) = score(base, [(alike(base, before), after)])
    assert total == pytest.approx(float(rows[range(len(after)), after].sum()), abs=1e-4)
    assert greedy is bool((rows.argmax(-1) == torch.tensor(after)).all())


def test_scores_of_a_mix_follow_from_those_of_its_models(service: Service) -> None:
    model = asked(service, UPSCALED, {"alpha": 1.5})
    before, after = encode(model, TEXT), encode(model, " The Rhine")
    large, tuned, small = (
        by_transformers(service, role, before, after) for role in ("large_base", "assistant", "small_base")
    )
    rows = (large + 1.5 * (tuned - small)).log_softmax(-1)
    ((total, _),) = score(model, [(alike(model, before), after)])
    assert total == pytest.approx(float(rows[range(len(after)), after].sum()), abs=1e-4)


def test_what_greedy_decoding_writes_is_greedy(base: Asked) -> None:
    before = alike(base, encode(base, TEXT))
    (text,) = write(base, [before], 6)
    spec = RunSpec(prompt="-", columns=(("a", BASE),), sampling=Sampling(temperature=0.0), length=6)
    request = RunRequest(check(spec, base.service.family, base.service.settings), before)
    (column,) = collect(base.service.engine.submit(request))
    after = [record.id for record in column.tokens]
    assert column.text == text
    found = score(base, [(before, after), (before, [*after[:-1], (after[-1] + 1) % 300]), (before, [])])
    assert [greedy for _, greedy in found] == [True, False, True] and found[2][0] == 0


def test_many_are_answered_in_their_order(base: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(alike(base, [5 + i]), [10 + i, 3]) for i in range(7)]
    whole = score(base, pairs)
    contexts = [before for before, _ in pairs]
    drawn = Sampling(temperature=1.0, seed=4)
    texts = write(base, contexts, 5, sampling=drawn)
    monkeypatch.setattr(harness, "RUNS_AT_ONCE", 3)
    assert [total for total, _ in score(base, pairs)] == pytest.approx(
        [total for total, _ in whole], abs=1e-5
    )
    assert write(base, contexts, 5, sampling=drawn) == texts
    assert len(set(texts)) > 1


def test_a_text_ends_before_the_first_of_the_strings(base: Asked) -> None:
    context = alike(base, encode(base, TEXT))
    (whole,) = write(base, [context], 20)
    stop = whole[len(whole) // 2 : len(whole) // 2 + 2]
    assert write(base, [context], 20, [stop, "no such text", ""]) == [whole[: whole.index(stop)]]


def test_every_model_reads_its_own_format(service: Service) -> None:
    model = asked(service, TUNED, {})
    assert framed(model, "Hi") == {"assistant": tuple(encode_prompt(service.family, "assistant", "Hi"))}
    assert framed(model, "Hi") != alike(model, encode(model, "Hi"))


def test_a_context_that_is_too_long_loses_its_beginning(base: Asked) -> None:
    long, after = [7, 9] * 100, [4, 5, 6]
    ((total, _),) = score(base, [(alike(base, long), after)])
    ((kept, _),) = score(base, [({"large_base": tuple(long[-125:])}, after)])
    assert total == pytest.approx(kept, abs=1e-5)
    assert len(write(base, [alike(base, long)], 10)) == 1


def test_what_cannot_fit_is_refused(base: Asked) -> None:
    with pytest.raises(InputError, match="127 tokens"):
        write(base, [alike(base, [5])], 128)
    with pytest.raises(InputError, match="context of 128"):
        score(base, [(alike(base, [5]), [3] * 128)])


def test_a_model_that_fails_is_an_error(base: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(base.service.engine.models["large_base"], "forward", broken)
    with pytest.raises(EFTError):
        score(base, [(alike(base, [5]), [3])])
    with pytest.raises(EFTError):
        write(base, [alike(base, [5])], 3)


@given(st.lists(st.integers(0, 99), max_size=60), st.integers(2, 20))
def test_windows_score_every_token_once(ids: list[int], context: int) -> None:
    found = list(windows(ids, 7, context))
    assert [token for _, part in found for token in part] == ids
    whole, done = [7, *ids], 0
    for before, part in found:
        assert 1 <= len(before) and len(before) + len(part) <= context
        done += len(part)
        assert [*before, *part] == whole[done + 1 - len(before) - len(part) : done + 1]
    assert all(len(before) + len(part) == context for before, part in found[1:])


def test_a_whole_text_is_scored_as_in_one_piece(service: Service, base: Asked) -> None:
    ids = [5, 9, 12, 40, 7] * 8
    pairs = [(alike(base, before), part) for before, part in windows(ids, base.prefix, base.context)]
    total = sum(each for each, _ in score(base, pairs))
    rows = by_transformers(service, "large_base", [base.prefix], ids)
    assert len(pairs) == 1 and total == pytest.approx(float(rows[range(len(ids)), ids].sum()), abs=1e-3)


def test_without_the_harness_the_command_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "lm_eval.__main__", raising=False)
    assert run_cli(monkeypatch, "lm-eval", "run", "--model", "eft") == 2
    assert 'pip install "lm_eval>=' in capsys.readouterr().err
