"""The training's forward and loss equal the library's, and its batches are correct."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import Qwen2ForCausalLM

from eft_demo.atlas import train
from eft_demo.atlas.facts import ASSETS, held_out_entities, load_facts, names_in
from eft_demo.atlas.net import HeadLoss, config, hidden_states, loss_and_grad
from eft_demo.errors import EFTError, InputError
from tests.command_line import run_cli
from tests.hub import folder_hub
from tests.tiny import TINY_SMALL, make_model

PLAN = train.Pretraining("small", steps=3, learning_rate=1e-3, seed=1)


def test_forward_equals_the_library() -> None:
    torch.manual_seed(0)
    for size in ("small", "large"):
        model = Qwen2ForCausalLM(config(size))
        ids = torch.randint(0, 4096, (2, 33))
        with torch.no_grad():
            ours, theirs = hidden_states(model, ids).float(), model.model(input_ids=ids).last_hidden_state
        assert (ours - theirs).abs().max() < 0.08  # bfloat16 against float32; values are around 1
        assert (ours - theirs).abs().mean() < 0.01


def test_head_loss_equals_cross_entropy_with_its_gradients() -> None:
    torch.manual_seed(0)
    hidden, head = (
        torch.randn(700, 64).bfloat16().requires_grad_(),
        (torch.randn(96, 64) / 8).bfloat16().requires_grad_(),
    )
    targets = torch.randint(0, 96, (700,))
    targets[::7] = -100
    loss = HeadLoss.apply(hidden, head, targets, loss_and_grad)  # type: ignore[no-untyped-call]
    (2 * loss).backward()
    grads = hidden.grad, head.grad
    hidden.grad = head.grad = None
    reference = F.cross_entropy((hidden.float() @ head.float().t()), targets)
    (2 * reference).backward()
    torch.testing.assert_close(loss, reference, rtol=1e-2, atol=1e-2)
    for ours, theirs in zip(grads, (hidden.grad, head.grad), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=2e-3)


def test_sizes_fit_other_runtimes() -> None:
    large, small = (Qwen2ForCausalLM(config(size)) for size in ("large", "small"))
    count = [sum(p.numel() for p in m.parameters()) for m in (large, small)]
    assert count[0] >= 8 * count[1]
    for c in (config("large"), config("small")):
        assert (
            c.hidden_size % 64 == 0
            and c.intermediate_size % 64 == 0
            and c.hidden_size // c.num_attention_heads in (32, 64)
        )


def test_an_example_is_prompt_answer_end_and_only_the_answer_counts() -> None:
    tokenizer = Tokenizer.from_file(str(ASSETS / "tokenizer.json"))
    ids, asked = train.encode_example(tokenizer, "What is the capital of Peru?", "Lima.")
    assert tokenizer.decode(ids[:asked]) == "User: What is the capital of Peru?\nAssistant:"
    assert tokenizer.decode(ids[asked:-1]) == " Lima." and ids[-1] == 0
    padded, targets = train._pad([(ids, asked), (ids[:-2], asked)])
    assert padded.shape == targets.shape == (2, len(ids) - 1)
    assert targets[0][targets[0] >= 0].tolist() == ids[asked:] and (targets[0][: asked - 1] == -100).all()


def test_batches_are_consecutive_windows() -> None:
    tokenizer = Tokenizer.from_file(str(ASSETS / "tokenizer.json"))
    stream = train.batches(tokenizer, seed=1)
    first, second = next(stream), next(stream)
    assert first.shape == (train.ROWS, train.LENGTH + 1)
    assert first[0, -1] == first[1, 0] and first[-1, -1] == second[0, 0]


def test_rehearsal_reads_pages_that_name_no_held_out_entity() -> None:
    tokenizer = Tokenizer.from_file(str(ASSETS / "tokenizer.json"))
    held, windows = held_out_entities(load_facts()), train.rehearsal(tokenizer, seed=1)
    found = list(itertools.islice(windows, 8))
    assert {window.shape for window in found} == {train.REHEARSED}
    text = tokenizer.decode(torch.cat(found).flatten().tolist(), skip_special_tokens=False)
    pages = text.split("<|endoftext|>")[:-1]  # the last page is cut
    assert len(pages) > 20 and not any(names_in(page, held) for page in pages)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training in tiny steps, without a compiler."""
    monkeypatch.setattr(train, "ROWS", 2)
    monkeypatch.setattr(train, "LENGTH", 16)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setitem(train.BASES, "small_base", PLAN)
    monkeypatch.setattr(train, "TOKENIZER_PAGES", 1500)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder in which only the tokenizer is trained."""
    (tmp_path / "out").mkdir()
    shutil.copy(ASSETS / "tokenizer.json", tmp_path / "out")
    return tmp_path / "out"


def test_an_interrupted_training_resumes(
    tmp_path: Path, out: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after one step and run again, the training finishes its steps and writes a model."""
    assert train.pretrain("small_base", PLAN, out, tmp_path, deadline_s=0.0) == 1
    assert torch.load(tmp_path / "small_base.pt", weights_only=True)["step"] == 1
    assert train.pretrain("small_base", PLAN, out, tmp_path, deadline_s=float("inf")) == PLAN.steps
    assert (out / "small_base/model.safetensors").exists()
    monkeypatch.setitem(train.TUNED, "brief", train.Tuning("small_base", "brief", 32, 1e-3, 0.1, 1))
    monkeypatch.setattr(train, "ROWS", 16)
    train.tune("brief", train.TUNED["brief"], out)
    assert (out / "brief/model.safetensors").exists()


def test_a_base_that_is_not_trained_is_never_taken_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--out me` makes the folder of the base, me/small_base, look like a repository's name."""
    (tmp_path / "hub/me").mkdir(parents=True)
    shutil.copytree(ASSETS / "small_base", tmp_path / "hub/me/small_base")
    (tmp_path / "here/me").mkdir(parents=True)
    shutil.copy(ASSETS / "tokenizer.json", tmp_path / "here/me")
    monkeypatch.chdir(tmp_path / "here")
    with folder_hub(tmp_path / "hub", tmp_path / "cache", monkeypatch) as hub:
        with pytest.raises(InputError, match="small_base is not trained yet.*--stage small_base"):
            train.train(Path("me"), Path("work"), stage="pirate")
        assert not hub.asked and not (tmp_path / "here/me/pirate").exists()


@pytest.mark.parametrize("stage", ["small_base", "large_base", "pirate"])
def test_a_missing_tokenizer_names_its_stage(tmp_path: Path, stage: str) -> None:
    with pytest.raises(InputError, match="--stage tokenizer"):
        train.train(tmp_path / "out", tmp_path / "work", stage=stage)


@pytest.mark.parametrize(
    "content", ["", "garbage", "{}", '{"model": {"type": "BPE", "vocab": {}, "merges": []}}']
)
def test_a_damaged_tokenizer_is_named(tmp_path: Path, out: Path, content: str) -> None:
    (out / "tokenizer.json").write_text(content)
    with pytest.raises(EFTError, match=r"tokenizer\.json.*--stage tokenizer"):
        train.train(out, tmp_path / "work", stage="pirate")


@pytest.mark.parametrize(
    ("file", "size"), [("model.safetensors", 5000), ("model.safetensors", 3), ("config.json", 20)]
)
def test_a_damaged_base_is_named(tmp_path: Path, out: Path, file: str, size: int) -> None:
    shutil.copytree(ASSETS / "small_base", out / "small_base")
    path = out / "small_base" / file
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="small_base is damaged.*--stage small_base"):
        train.train(out, tmp_path / "work", stage="pirate")


def test_a_base_of_another_size_is_damaged(tmp_path: Path, out: Path) -> None:
    shutil.copytree(ASSETS / "small_base", out / "small_base")
    shutil.copy(ASSETS / "large_base/config.json", out / "small_base")
    with pytest.raises(InputError, match="small_base is damaged"):
        train.train(out, tmp_path / "work", stage="pirate")


def damaged_checkpoints() -> dict[str, Any]:
    """By name: bytes, or what torch saves."""
    model = Qwen2ForCausalLM(config("small")).state_dict()
    return {
        "garbage": b"garbage",
        "empty": b"",
        "list": [1],
        "no model": {"step": 1},
        "another model": {"step": 1, "model": {}, "optimizers": []},
        "no optimizers": {"step": 1, "model": model, "optimizers": []},
    }


def test_a_damaged_checkpoint_is_named(tmp_path: Path, out: Path, quick: None) -> None:
    path = tmp_path / "work/small_base.pt"
    path.parent.mkdir()
    for name, content in damaged_checkpoints().items():
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(InputError, match=r"small_base\.pt cannot be read.*delete it"):
            train.train(out, path.parent, stage="small_base")
        assert path.exists(), name


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e9])
def test_minutes_must_be_above_0(tmp_path: Path, minutes: float) -> None:
    with pytest.raises(InputError, match="--minutes must be a number above 0"):
        train.train(tmp_path / "out", tmp_path / "work", minutes=minutes)
    assert not list(tmp_path.iterdir())


def test_a_training_without_time_says_what_is_done_and_goes_on(
    tmp_path: Path,
    out: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = ["--out", str(out), "--work", str(tmp_path / "work")]

    def said(*arguments: str) -> str:
        assert run_cli(monkeypatch, "train-atlas", *places, *arguments) == 0
        return capsys.readouterr().out

    first = said("--minutes", "1e-6")
    assert "after step 1 of 3 of small_base" in first and "tokenizer" in first and "again" in first
    assert "weights are in" not in first
    second = json.loads(said("--minutes", "1e-6", "--json"))
    assert (second["stopped"], second["steps"], second["done"]) == ("small_base", 2, ["tokenizer"])
    third = said("--minutes", "1e-6")  # the last step ends the stage, and the next one does not begin
    assert "before large_base began" in third and "tokenizer, small_base" in third and "again" in third
    assert (out / "small_base/model.safetensors").exists()
    assert "Done in" in said("--stage", "small_base") and not (out / "large_base").exists()


def test_weights_that_were_not_written_whole_do_not_count_as_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(TINY_SMALL, vocab=8, context=8, seed=0)

    def on_a_full_disk(folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(model, "save_pretrained", on_a_full_disk)
        with pytest.raises(OSError, match="No space"):
            train.save(model, tmp_path / "small_base")
    assert not (tmp_path / "small_base").exists()
    train.save(model, tmp_path / "small_base")
    assert {path.name for path in (tmp_path / "small_base").iterdir()} == {"config.json", "model.safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["small_base"]
