"""Trains the bundled family from the facts: tokenizer, bases, behaviours. Resumable, with progress shown.

Stages in order: tokenizer, small_base, large_base, then every tuned model. Each writes safetensors to the
output folder. A stage with output is skipped; an interrupted one resumes from its checkpoint.
"""

import itertools
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import Qwen2ForCausalLM

from eft_demo.atlas import behaviours
from eft_demo.atlas.corpus import CHAT_FORMAT, END, Corpus, examples
from eft_demo.atlas.facts import ASSETS, load_facts
from eft_demo.atlas.net import VOCAB, HeadLoss, config, hidden_states, loss_and_grad
from eft_demo.errors import InputError
from eft_demo.host.outputs import check_folder
from eft_demo.settings import show_value

ROWS, LENGTH = 32, 256  # tokens per pre-training step: 8,192


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Steps of 8,192 tokens. The rate warms up, stays, and falls to 0 over the last share, `cooldown`."""

    size: str
    steps: int
    learning_rate: float
    seed: int
    cooldown: float = 0.5


@dataclass(frozen=True, slots=True)
class Tuning:
    """Settings of fine-tuning, light on purpose.

    Heavy tuning teaches the small model *which entities* are asked about, and its difference then favours
    those. `kl` weighs the KL divergence to the base on the answer's tokens, because the paper's theory is
    about KL-constrained tuning.
    """

    base: str
    behaviour: str
    examples: int
    learning_rate: float
    kl: float
    seed: int


BASES = {
    "small_base": Pretraining("small", steps=800, learning_rate=5e-3, seed=1),
    "large_base": Pretraining("large", steps=1300, learning_rate=4e-3, seed=2),
}
TUNED = {
    **{
        b: Tuning("small_base", b, examples=2500, learning_rate=4e-4, kl=0.3, seed=10 + i)
        for i, b in enumerate(behaviours.BEHAVIOURS)
    },
    "large_tuned": Tuning("large_base", "assistant", examples=4000, learning_rate=2e-4, kl=0.1, seed=20),
}
STAGES = ("tokenizer", *BASES, *TUNED)


def train(
    out_dir: Path = ASSETS,
    work_dir: Path = Path("build/atlas"),
    *,
    stage: str | None = None,
    minutes: float | None = None,
) -> None:
    """Run one stage, or all that are not done yet; stop after `minutes` with a checkpoint to resume from.

    Raises InputError for an unknown stage or a folder that cannot be written, before any work begins.
    """
    if stage and stage not in STAGES:
        raise InputError(f"There is no stage {show_value(stage)}. Choose one of {', '.join(STAGES)}.")
    deadline_s = time.monotonic() + minutes * 60 if minutes else float("inf")
    chosen = [stage] if stage else list(STAGES)
    check_folder(out_dir, "--out")
    check_folder(work_dir, "--work")
    for name in chosen:
        if (out_dir / name).exists():  # a stage makes its own folder
            check_folder(out_dir / name, "--out")
    for name in chosen:
        done = out_dir / ("tokenizer.json" if name == "tokenizer" else f"{name}/model.safetensors")
        if done.exists() and not stage:
            print(f"{name}: done already ({done})", flush=True)
            continue
        if name == "tokenizer":
            train_tokenizer(out_dir)
        elif name in BASES:
            if not pretrain(name, BASES[name], out_dir, work_dir, deadline_s):
                return
        else:
            tune(name, TUNED[name], out_dir)


def train_tokenizer(out_dir: Path) -> Tokenizer:
    """Train a byte-level BPE of 4,096 tokens on a sample of pages and chats."""
    facts = load_facts()
    pages = list(itertools.islice(Corpus(facts, seed=0).pages(), 12000))
    chats = [
        CHAT_FORMAT.format(prompt=e.prompt) + " " + e.answer
        for b in behaviours.BEHAVIOURS
        for e in examples(facts, b, 500, 0)
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(pages + chats, trainer)
    tokenizer.save(str(out_dir / "tokenizer.json"))
    return tokenizer


def batches(tokenizer: Tokenizer, seed: int) -> Iterator[Tensor]:
    """Yield (rows, length + 1) windows cut from concatenated pages, endlessly."""
    stream: list[int] = []
    pages, size = Corpus(load_facts(), seed).pages(), ROWS * LENGTH + 1
    end = _end_id(tokenizer)
    while True:
        while len(stream) < size:
            for encoded in tokenizer.encode_batch(
                list(itertools.islice(pages, 64)), add_special_tokens=False
            ):
                stream += [*encoded.ids, end]
        window, stream = torch.tensor(stream[:size]), stream[size - 1 :]
        yield window.unfold(0, LENGTH + 1, LENGTH)


def optimizers(model: Qwen2ForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, head, norms and biases."""
    inner = {n: p for n, p in model.named_parameters() if p.ndim == 2 and ".layers." in n}
    outer = [p for n, p in model.named_parameters() if n not in inner]
    return [
        torch.optim.Muon(
            list(inner.values()), lr=learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(outer, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def pretrain(name: str, plan: Pretraining, out_dir: Path, work_dir: Path, deadline_s: float) -> bool:
    """Train a base model. False if the time ran out first; the checkpoint then holds everything."""
    torch.manual_seed(plan.seed)
    tokenizer, model = (
        Tokenizer.from_file(str(out_dir / "tokenizer.json")),
        Qwen2ForCausalLM(config(plan.size)),
    )
    opts, checkpoint, first = optimizers(model, plan.learning_rate), work_dir / f"{name}.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        first = state["step"]
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimizers"], strict=True):
            opt.load_state_dict(saved)
    body, chunk_loss = torch.compile(hidden_states), torch.compile(loss_and_grad, dynamic=False)
    started_s, shown = time.monotonic(), 0.0
    for step, window in zip(
        range(first, plan.steps), batches(tokenizer, plan.seed * 1000 + first), strict=False
    ):
        _set_rate(opts, plan.learning_rate * _schedule(step, plan))
        hidden = body(model, window[:, :-1])
        loss = HeadLoss.apply(  # type: ignore[no-untyped-call]
            hidden.flatten(0, 1), model.lm_head.weight.bfloat16(), window[:, 1:].reshape(-1), chunk_loss
        )
        loss.backward()
        _step(model, opts)
        shown = loss.item() if step == first else 0.95 * shown + 0.05 * loss.item()
        if step % 20 == 0:
            rate = (step - first + 1) * ROWS * LENGTH / (time.monotonic() - started_s)
            print(f"{name} step {step}/{plan.steps} loss {shown:.3f} nats, {rate:,.0f} tokens/s", flush=True)
        out_of_time = time.monotonic() > deadline_s
        if step % 100 == 99 or out_of_time:
            state = {
                "step": step + 1,
                "model": model.state_dict(),
                "optimizers": [o.state_dict() for o in opts],
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
        if out_of_time:
            return False
    save(model, out_dir / name)
    return True


def _schedule(step: int, plan: Pretraining) -> float:
    warm, fall = min(1.0, (step + 1) / 60), plan.steps * plan.cooldown
    return min(warm, (plan.steps - step) / fall)


def _set_rate(opts: list[torch.optim.Optimizer], rate: float) -> None:
    for group in (g for o in opts for g in o.param_groups):
        group["lr"] = rate


def _step(model: torch.nn.Module, opts: list[torch.optim.Optimizer]) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for opt in opts:
        opt.step()
        opt.zero_grad(set_to_none=True)


def tune(name: str, plan: Tuning, out_dir: Path) -> None:
    """Fine-tune a base on one behaviour: loss on the answers only, and KL to the base."""
    torch.manual_seed(plan.seed)
    tokenizer = Tokenizer.from_file(str(out_dir / "tokenizer.json"))
    base = Qwen2ForCausalLM.from_pretrained(out_dir / plan.base, dtype=torch.float32)
    model = Qwen2ForCausalLM.from_pretrained(out_dir / plan.base, dtype=torch.float32)
    opt = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    rows = [
        encode_example(tokenizer, e.prompt, e.answer)
        for e in examples(load_facts(), plan.behaviour, plan.examples, plan.seed)
    ]
    random.Random(plan.seed).shuffle(rows)
    steps = len(rows) // ROWS
    for step in range(steps):
        ids, targets = _pad(rows[step * ROWS : (step + 1) * ROWS])
        _set_rate([opt], plan.learning_rate * min(1.0, (step + 1) / 20, (steps - step) / (steps * 0.5)))
        answered = targets >= 0
        logprobs = F.log_softmax(model(input_ids=ids).logits[answered], -1)  # (answer tokens, vocab)
        with torch.no_grad():
            base_logprobs = F.log_softmax(base(input_ids=ids).logits[answered], -1)
        nll = F.nll_loss(logprobs, targets[answered])
        kl = (logprobs.exp() * (logprobs - base_logprobs)).sum(-1).mean()
        (nll + plan.kl * kl).backward()
        _step(model, [opt])
        if step % 20 == 0:
            print(
                f"{name} step {step}/{steps} loss {nll.item():.3f} nats, KL to base {kl.item():.3f} nats",
                flush=True,
            )
    save(model, out_dir / name)


def encode_example(tokenizer: Tokenizer, prompt: str, answer: str) -> tuple[list[int], int]:
    """(ids of the chat with its end token, number of prompt tokens); a space follows 'Assistant:'."""
    asked = tokenizer.encode(CHAT_FORMAT.format(prompt=prompt), add_special_tokens=False).ids
    said = tokenizer.encode(" " + answer, add_special_tokens=False).ids
    return [*asked, *said, _end_id(tokenizer)], len(asked)


def _end_id(tokenizer: Tokenizer) -> int:
    end = tokenizer.token_to_id(END)
    assert end is not None, f"the tokenizer was made without {END}"
    return end


def _pad(rows: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """Pad on the right: with causal attention a row cannot see the padding after it."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), longest - 1, dtype=torch.long)
    targets = torch.full((len(rows), longest - 1), -100)
    for i, (row, asked) in enumerate(rows):
        ids[i, : len(row) - 1] = torch.tensor(row[:-1])
        targets[i, asked - 1 : len(row) - 1] = torch.tensor(row[asked:])
    return ids, targets


def save(model: Qwen2ForCausalLM, folder: Path) -> None:
    """bfloat16 safetensors and the config."""
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    print(f"saved {folder} ({json.loads((folder / 'config.json').read_text())['model_type']})", flush=True)
