"""The training's forward and loss equal the library's, and its batches are correct."""

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import Qwen2ForCausalLM

from eft_demo.atlas import train
from eft_demo.atlas.facts import ASSETS
from eft_demo.atlas.net import HeadLoss, config, hidden_states, loss_and_grad


def test_forward_equals_the_library():
    torch.manual_seed(0)
    for size in ("small", "large"):
        model = Qwen2ForCausalLM(config(size))
        ids = torch.randint(0, 4096, (2, 33))
        with torch.no_grad():
            ours, theirs = hidden_states(model, ids).float(), model.model(input_ids=ids).last_hidden_state
        assert (ours - theirs).abs().max() < 0.08  # bfloat16 against float32; values are around 1
        assert (ours - theirs).abs().mean() < 0.01


def test_head_loss_equals_cross_entropy_with_its_gradients():
    torch.manual_seed(0)
    hidden, head = (
        torch.randn(700, 64).bfloat16().requires_grad_(),
        (torch.randn(96, 64) / 8).bfloat16().requires_grad_(),
    )
    targets = torch.randint(0, 96, (700,))
    targets[::7] = -100
    loss = HeadLoss.apply(hidden, head, targets, loss_and_grad)
    (2 * loss).backward()
    grads = hidden.grad, head.grad
    hidden.grad = head.grad = None
    reference = F.cross_entropy((hidden.float() @ head.float().t()), targets)
    (2 * reference).backward()
    torch.testing.assert_close(loss, reference, rtol=1e-2, atol=1e-2)
    for ours, theirs in zip(grads, (hidden.grad, head.grad), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=2e-3)


def test_sizes_fit_other_runtimes():
    large, small = (Qwen2ForCausalLM(config(size)) for size in ("large", "small"))
    count = [sum(p.numel() for p in m.parameters()) for m in (large, small)]
    assert count[0] >= 8 * count[1]
    for c in (config("large"), config("small")):
        assert (
            c.hidden_size % 64 == 0
            and c.intermediate_size % 64 == 0
            and c.hidden_size // c.num_attention_heads in (32, 64)
        )


def test_an_example_is_prompt_answer_end_and_only_the_answer_counts():
    tokenizer = Tokenizer.from_file(str(ASSETS / "tokenizer.json"))
    ids, asked = train.encode_example(tokenizer, "What is the capital of Peru?", "Lima.")
    assert tokenizer.decode(ids[:asked]) == "User: What is the capital of Peru?\nAssistant:"
    assert tokenizer.decode(ids[asked:-1]) == " Lima." and ids[-1] == 0
    padded, targets = train._pad([(ids, asked), (ids[:-2], asked)])
    assert padded.shape == targets.shape == (2, len(ids) - 1)
    assert targets[0][targets[0] >= 0].tolist() == ids[asked:] and (targets[0][: asked - 1] == -100).all()


def test_batches_are_consecutive_windows():
    tokenizer = Tokenizer.from_file(str(ASSETS / "tokenizer.json"))
    stream = train.batches(tokenizer, seed=1)
    first, second = next(stream), next(stream)
    assert first.shape == (train.ROWS, train.LENGTH + 1)
    assert first[0, -1] == first[1, 0] and first[-1, -1] == second[0, 0]


def test_an_interrupted_training_resumes(tmp_path, monkeypatch):
    """Stopped after one step and run again, the training finishes its steps and writes a model."""
    monkeypatch.setattr(train, "ROWS", 2)
    monkeypatch.setattr(train, "LENGTH", 16)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/tokenizer.json").write_text((ASSETS / "tokenizer.json").read_text())
    plan = train.Pretraining("small", steps=3, learning_rate=1e-3, seed=1)
    assert not train.pretrain("small_base", plan, tmp_path / "out", tmp_path, deadline_s=0.0)
    assert torch.load(tmp_path / "small_base.pt", weights_only=True)["step"] == 1
    assert train.pretrain("small_base", plan, tmp_path / "out", tmp_path, deadline_s=float("inf"))
    assert (tmp_path / "out/small_base/model.safetensors").exists()
    monkeypatch.setitem(train.TUNED, "brief", train.Tuning("small_base", "brief", 32, 1e-3, 0.1, 1))
    monkeypatch.setattr(train, "ROWS", 16)
    train.tune("brief", train.TUNED["brief"], tmp_path / "out")
    assert (tmp_path / "out/brief/model.safetensors").exists()
