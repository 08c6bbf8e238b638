"""GGUF files in llama.cpp: the logits of transformers on the same weights, exact rows and exact rollback.

Skipped where the extra `gguf` is not installed, as by the README's test command.
"""

import gc
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install '.[gguf]'")

from eft_demo.engine.engine import Engine
from eft_demo.errors import EFTError, FamilyError, OutOfMemory
from eft_demo.families.catalogue import read_entry
from eft_demo.families.family import Family, load_family
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.models import llama_cpp
from eft_demo.models.backend import LoadOptions
from eft_demo.models.kv_cache import FIRST_ROWS
from eft_demo.models.llama_cpp import BATCH, MAX_ROWS, LlamaCppModel
from eft_demo.models.load import load_model, load_models
from eft_demo.models.open import open_family
from eft_demo.models.protocol import SavedRow, Slot
from eft_demo.runs.events import EndEvent
from eft_demo.settings import Settings
from tests.asking import finished, ids_of, make_request, run_three, three
from tests.gguf import make_gguf_family

FP32 = Settings(dtype="fp32", threads=1)
# Of tests/checkpoints.py, with the layers that llama.cpp expects. Windows are shorter than the texts.
GEMMA_3 = {"num_hidden_layers": 6, "layer_types": ["sliding_attention"] * 5 + ["full_attention"]}
KINDS: Mapping[str, dict[str, Any]] = {
    "llama2": {}, "qwen2": {}, "qwen3": {}, "olmo2": {}, "gemma": {}, "gemma2": {}, "gemma3": GEMMA_3,
}  # fmt: skip
OFF = Speculation("off")
TEXTS = [list(range(30, 51)), [7, 5], list(range(60, 66))]  # token ids
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Family]:
    folder = tmp_path_factory.mktemp("gguf-kinds")
    return {
        kind: load_family(read_entry(make_gguf_family(folder / kind, kind, **changes)), FP32)
        for kind, changes in KINDS.items()
    }


@pytest.fixture
def model(families: dict[str, Family]) -> LlamaCppModel:
    return loaded(families["llama2"])


def loaded(family: Family, role: str = "large_base") -> LlamaCppModel:
    found = load_model(family, family.roles[role], LoadOptions(torch.float32))
    assert isinstance(found, LlamaCppModel)
    return found


@torch.inference_mode()
def whole(family: Family, role: str, tokens: list[int]) -> Tensor:
    """transformers' logits after every token, without a cache: (tokens, vocab)."""
    folder = family.roles[role].path.with_suffix("")
    attention = "eager" if "gemma2" in str(folder) else "sdpa"  # only eager attention caps logits
    library = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    ).eval()
    logits: Tensor = library(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, :, : family.vocab]
    return logits


def read(model: LlamaCppModel, tokens: list[int]) -> tuple[Slot, Tensor]:
    """A row with these tokens, and the logits after each."""
    slot = model.join()
    return slot, model.forward([slot], torch.tensor([tokens]), keep=len(tokens))[0]


def close(found: Tensor, expected: Tensor, kind: str = "") -> None:
    # llama.cpp looks Gemma's activations up in a table of 16-bit numbers.
    torch.testing.assert_close(found, expected, atol=4e-3 if kind.startswith("gemma") else 1e-4, rtol=1e-4)
    assert expected.std() > 0.3  # the comparison compares something


@every_kind
def test_rows_of_unequal_length_have_the_librarys_logits(families: dict[str, Family], kind: str) -> None:
    family = families[kind]
    model = loaded(family)
    expected = [whole(family, "large_base", [*text, 9, 11, 13]) for text in TEXTS]
    slots = []
    for text, logits in zip(TEXTS, expected, strict=True):
        slot, found = read(model, text)
        close(found, logits[: len(text)], kind)
        slots.append(slot)
    together = model.forward(slots, torch.tensor([[9, 11, 13]] * 3), keep=2)
    assert together.shape == (3, 2, family.vocab) and together.dtype == torch.float32
    for found, logits in zip(together, expected, strict=True):
        close(found, logits[-2:], kind)
    assert [slot.length for slot in slots] == [len(text) + 3 for text in TEXTS]


@every_kind
def test_a_rollback_is_exact(families: dict[str, Family], kind: str) -> None:
    family = families[kind]
    model = loaded(family)
    (first, _), (other, _) = (read(model, text) for text in TEXTS[:2])
    expected = model.forward([first], torch.tensor([[3, 4]]), keep=2)
    for length in (len(TEXTS[0]), 2):  # further back than a sliding window is long
        first.length = length
        model.forward([first, other], torch.tensor([[90, 91, 92], [5, 6, 7]]))
        first.length, other.length = length, len(TEXTS[1])
        rest = torch.tensor([[*TEXTS[0][length:], 3, 4]])
        atol = 2e-3 if kind.startswith("gemma") else 1e-4  # see close()
        torch.testing.assert_close(model.forward([first], rest, keep=2), expected, atol=atol, rtol=1e-4)


def test_a_copied_prefix_is_a_row_of_its_own(model: LlamaCppModel, families: dict[str, Family]) -> None:
    source, _ = read(model, TEXTS[0])
    source.length = 12
    target, _ = read(model, TEXTS[1])  # what it held is forgotten
    model.copy_prefix(source, target)
    assert target.length == 12
    found = model.forward([source, target], torch.tensor([[8, 9], [70, 71]]), keep=2)
    for logits, end in zip(found, ([8, 9], [70, 71]), strict=True):
        close(logits, whole(families["llama2"], "large_base", [*TEXTS[0][:12], *end])[-2:])
    model.leave(source)
    again = model.forward([target], torch.tensor([[72]]))[0]
    close(again, whole(families["llama2"], "large_base", [*TEXTS[0][:12], 70, 71, 72])[-1:])
    empty = model.join()
    model.copy_prefix(empty, target)
    assert target.length == 0
    close(model.forward([target], torch.tensor([[5]]))[0], whole(families["llama2"], "large_base", [5]))


@every_kind
def test_a_saved_row_continues_in_another_place_as_it_would_have(
    families: dict[str, Family], kind: str
) -> None:
    model = loaded(families[kind])
    source, _ = read(model, TEXTS[0])
    assert model.save(source, 1) is None
    saved = model.save(source, 10**7)
    assert saved is not None and 0 < saved.size_bytes < 10**7
    expected = model.forward([source], torch.tensor([[8, 9]]), keep=2)
    model.leave(source)
    other, _ = read(model, TEXTS[2])
    whole_row, part = model.join(), model.join()
    model.restore(whole_row, saved, len(TEXTS[0]))
    model.restore(part, saved, 6)
    held = 0 if kind in ("gemma2", "gemma3") else 6  # their windows are shorter than the text
    assert (whole_row.length, part.length) == (len(TEXTS[0]), held)
    found = model.forward([whole_row, other], torch.tensor([[8, 9], [70, 71]]), keep=2)
    torch.testing.assert_close(
        found[:1], expected, atol=2e-3 if kind.startswith("gemma") else 1e-4, rtol=1e-4
    )
    close(
        model.forward([part], torch.tensor([[*TEXTS[0][held:6], 70, 71]]), keep=2)[0],
        whole(families[kind], "large_base", [*TEXTS[0][:6], 70, 71])[-2:],
        kind,
    )


@pytest.mark.parametrize("kind", ["llama2", "gemma3"])
def test_the_next_turn_writes_the_same_text_with_and_without_reuse(
    families: dict[str, Family], kind: str
) -> None:
    family = families[kind]
    models = load_models(family, torch.float32)
    tuned = family.behaviours[0].role

    def engine(megabytes: int) -> Engine:
        settings = replace(FP32, prefix_cache_mb=megabytes)
        return Engine(models, (), settings, family.token_bytes, family.banned_ids)

    prompts = dict.fromkeys(models, tuple(range(30, 55)))
    first = make_request(prompts, three(tuned), {"alpha": 1.5}, Sampling(0.7, seed=2), 6)
    reusing, without = engine(16), engine(0)
    answer = ids_of(finished(reusing, first)[2])
    assert len(answer) == 6
    asked = replace(first, prompts=dict.fromkeys(models, (*prompts[tuned], *answer, 70, 71, 72)))
    run = reusing.submit(asked)
    while reusing.step():
        pass
    reused = [event for event in run.events() if isinstance(event, EndEvent)]
    # All that was read of the text: 25 tokens of the prompt and five of the answer.
    assert max(event.reused_tokens for event in reused) == 30
    for mine, theirs in zip(finished(reusing, asked), finished(without, asked), strict=True):
        assert ids_of(mine) == ids_of(theirs)
        logprobs = [record.logprob for record in theirs.tokens]
        assert [record.logprob for record in mine.tokens] == pytest.approx(logprobs, abs=5e-3)


def test_a_restore_that_fails_leaves_an_empty_row(
    model: LlamaCppModel, families: dict[str, Family], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = read(model, TEXTS[0])
    saved = model.save(source, 10**7)
    assert saved is not None
    row = model.join()
    with pytest.raises(MemoryError):
        model.restore(row, SavedRow(saved.content, 5, saved.tokens), 6)  # cut short
    assert row.length == 0
    close(model.forward([row], torch.tensor([[5]]))[0], whole(families["llama2"], "large_base", [5]))


def test_rows_join_and_leave_and_keep_their_texts_as_the_cache_grows(model: LlamaCppModel) -> None:
    expected = [read(model, text) for text in TEXTS]
    expected[0][0].length = 5  # a rollback that the cache has not seen when it grows
    slots = [model.join() for _ in range(3 * FIRST_ROWS)]
    for (slot, logits), text in zip(expected, TEXTS, strict=True):
        slot.length = min(slot.length, len(text) - 1)
        rest = torch.tensor([text[slot.length :]])
        found = model.forward([slot], rest)[0]
        torch.testing.assert_close(found, logits[-1:], atol=1e-4, rtol=1e-4)
    indices = {slot.index for slot in slots}
    for slot in slots:
        model.leave(slot)
        model.leave(slot)  # freeing a free row does nothing
    assert model.join().index in indices


def test_many_full_rows_fit_and_more_than_one_batch_is_read(model: LlamaCppModel) -> None:
    slots = [model.join() for _ in range(5)]
    text = torch.arange(model.context) % 100 + 5
    assert 5 * model.context > 2 * BATCH
    found = model.forward(slots, text.expand(5, -1), keep=3)
    assert found.shape == (5, 3, model.vocab)
    torch.testing.assert_close(found, found[:1].expand(5, -1, -1), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="exceeds the context"):
        model.forward(slots[:1], torch.tensor([[1]]))
    assert slots[0].length == model.context


def test_a_reset_frees_every_row(model: LlamaCppModel) -> None:
    slot, expected = read(model, TEXTS[0])
    read(model, TEXTS[1])
    model.reset()
    assert slot.index == -1
    new, found = read(model, TEXTS[0])
    assert new.index == 0
    torch.testing.assert_close(found, expected)


def test_there_is_a_limit_of_rows(model: LlamaCppModel) -> None:
    slots = [model.join() for _ in range(MAX_ROWS)]
    assert len({slot.index for slot in slots}) == MAX_ROWS
    with pytest.raises(OutOfMemory, match="keep another text"):
        model.join()
    model.leave(slots[7])
    assert model.join().index == 7


def test_a_failed_step_changes_no_row(model: LlamaCppModel, monkeypatch: pytest.MonkeyPatch) -> None:
    slot, _ = read(model, TEXTS[0])
    expected = model.forward([slot], torch.tensor([[3]]))
    slot.length -= 1
    with pytest.raises(RuntimeError, match="llama.cpp failed"):
        model.forward([slot], torch.tensor([[1 << 30]]))  # no such token
    assert slot.length == len(TEXTS[0])
    with monkeypatch.context() as patch:
        patch.setattr(model, "_decode", lambda: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            model.forward([slot], torch.tensor([[3]]))
    torch.testing.assert_close(model.forward([slot], torch.tensor([[3]])), expected)


def test_threads_follow_torch(model: LlamaCppModel) -> None:
    slot, _ = read(model, TEXTS[0])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        model.forward([slot], torch.tensor([[3]]))
        assert llama_cpp._library().llama_n_threads(model._handles.context) == 2
    finally:
        torch.set_num_threads(before)
    model.forward([slot], torch.tensor([[3]]))
    assert llama_cpp._library().llama_n_threads(model._handles.context) == before


def test_a_model_that_is_no_longer_used_is_freed(
    families: dict[str, Family], monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[object] = []
    monkeypatch.setattr(llama_cpp, "_free", lambda library, handles: freed.append(handles))
    model = loaded(families["llama2"])
    handles, alive = model._handles, weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None and freed == [handles]


def texts_of(family: Family, speculation: Speculation, temperature: float) -> list[tuple[int, ...]]:
    """The tokens of three columns."""
    columns = run_three(family, "polite", Sampling(temperature=temperature), 24, speculation, FP32)
    return [ids_of(column) for column in columns]


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("kind", ["llama2", "qwen3"])
def test_the_texts_are_those_of_transformers_with_drafts_and_without(
    families: dict[str, Family], kind: str, temperature: float
) -> None:
    family = families[kind]
    folder = family.roles["large_base"].path.parent
    expected = texts_of(load_family(read_entry(folder / f"{kind}.yaml"), FP32), OFF, temperature)
    assert all(expected)
    assert texts_of(family, OFF, temperature) == expected
    assert texts_of(family, Speculation("on", 4), temperature) == expected


def test_a_gguf_base_beside_a_pair_in_torch(families: dict[str, Family], tmp_path: Path) -> None:
    path = make_gguf_family(tmp_path, "qwen2", ["large_base"])
    opened = open_family(read_entry(path), FP32)
    assert isinstance(opened.models["large_base"], LlamaCppModel)
    assert not isinstance(opened.models["small_base"], LlamaCppModel)
    assert texts_of(opened.family, OFF, 0) == texts_of(families["qwen2"], OFF, 0)


def test_a_file_that_llama_cpp_refuses_is_reported_with_its_reason(
    families: dict[str, Family], tmp_path: Path
) -> None:
    path = make_gguf_family(tmp_path, "llama2", ["large_base"])
    content = (tmp_path / "large_base.gguf").read_bytes()
    (tmp_path / "large_base.gguf").write_bytes(content.replace(b"blk.1.ffn_up", b"blk.1.ffn_pu"))
    with pytest.raises(FamilyError, match="large_base.*cannot be loaded.*ffn_up"):
        open_family(read_entry(path), FP32)


def test_too_little_memory_is_reported(model: LlamaCppModel, monkeypatch: pytest.MonkeyPatch) -> None:
    slot, _ = read(model, TEXTS[0])
    expected = model.forward([slot], torch.tensor([[3]]))

    def full(context: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(model, "_hand_over", full)
    for _ in range(FIRST_ROWS - 1):
        model.join()
    with pytest.raises(OutOfMemory, match="keep another text") as caught:
        model.join()
    assert isinstance(caught.value, EFTError)
    slot.length -= 1
    torch.testing.assert_close(model.forward([slot], torch.tensor([[3]])), expected)
