"""Trains the bundled family from the facts: tokenizer, bases, behaviours. Resumable, with progress shown.

Stages in order: tokenizer, small_base, large_base, then every tuned model. Each writes safetensors to the
output folder. A stage with output is skipped; an interrupted one resumes from its checkpoint.
"""

import itertools
import json
import pickle
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedModel, Qwen2ForCausalLM

from eft_demo.atlas import behaviours
from eft_demo.atlas.corpus import CHAT_FORMAT, END, Corpus, examples
from eft_demo.atlas.facts import ASSETS, held_out_entities, load_facts, names_in
from eft_demo.atlas.net import VOCAB, HeadLoss, config, hidden_states, loss_and_grad
from eft_demo.errors import InputError, error_text
from eft_demo.families.files import is_file
from eft_demo.families.tokens import read_codec
from eft_demo.families.weights import BROKEN, missing_files
from eft_demo.host.outputs import check_folder
from eft_demo.models.hf import read_pretrained
from eft_demo.settings import check_number, show_value

ROWS, LENGTH = 32, 256  # tokens per pre-training step: 8,192
REHEARSED = 4, 128  # rows and tokens of pages that a step of tuning reads beside its examples
TOKENIZER_PAGES = 12_000
# Text is cut into these pieces before tokens are merged: the thinker's marks, endings such as "'s", words,
# single digits, other signs, and spaces.
PIECES = r" ?</?think>|'[a-z]+| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
MAX_MINUTES = 525_600  # a year
# What torch.load and load_state_dict raise for a damaged checkpoint or one of another model.
DAMAGED = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RuntimeError,
    pickle.UnpicklingError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Steps of 8,192 tokens. The rate warms up, stays, and falls to 0 over the last share, `cooldown`.

    The pages are those of `corpus.MIXES["all"]`, and of `late_mix` while the rate falls.
    """

    size: str
    steps: int
    learning_rate: float
    seed: int
    cooldown: float = 0.5
    late_mix: str = "all"

    @property
    def falls_at(self) -> int:
        """The step at which the rate begins to fall."""
        return round(self.steps * (1 - self.cooldown))


@dataclass(frozen=True, slots=True)
class Tuning:
    """Settings of fine-tuning.

    Tuning that only sees examples teaches the small model *which entities* are asked about, and its
    difference then favours those. Two KL divergences hold it back: `kl` weighs the one to the base on the
    answers' tokens, because the paper's theory is about KL-constrained tuning, and `rehearsal` the one from
    the base on pages of the corpus, which keeps what the base has read.
    """

    base: str
    behaviour: str
    examples: int
    learning_rate: float
    kl: float
    seed: int
    rehearsal: float = 1.0


BASES = {
    "small_base": Pretraining("small", steps=3600, learning_rate=5e-3, seed=1),
    "large_base": Pretraining("large", steps=5200, learning_rate=4e-3, seed=2, late_mix="facts"),
}
TUNED = {
    **{
        b: Tuning("small_base", b, examples=24_000, learning_rate=1e-3, kl=0.1, seed=10 + i)
        for i, b in enumerate(behaviours.BEHAVIOURS)
    },
    "large_tuned": Tuning("large_base", "assistant", examples=6000, learning_rate=2e-4, kl=0.1, seed=20),
}
STAGES = ("tokenizer", *BASES, *TUNED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call of `train` did."""

    done: tuple[str, ...]  # stages whose files are there
    stopped: str = ""  # the stage in which, or before which, the time ran out
    steps: int = 0  # of the stopped stage, in its checkpoint

    def to_sentence(self, out_dir: Path, work_dir: Path) -> str:
        """What is there now, and what to do if it is not everything."""
        there = f"Done in {out_dir}: {', '.join(self.done) or 'nothing yet'}."
        if not self.stopped:
            return f"The weights are in {out_dir}." if self.done == STAGES else there
        where = f"the time was over before {self.stopped} began"
        if self.steps:
            total = BASES[self.stopped].steps
            where = f"the time was over after step {self.steps} of {total} of {self.stopped}"
            where += f" (its checkpoint is in {work_dir})"
        return f"Not finished: {where}. {there} Please run the same command again to go on."


def train(
    out_dir: Path = ASSETS,
    work_dir: Path = Path("build/atlas"),
    *,
    stage: str | None = None,
    minutes: float | None = None,
) -> Outcome:
    """Run one stage, or all that are not done yet; stop after `minutes` with a checkpoint to resume from.

    Raises InputError for an unknown stage, a time that is not above 0, a folder that cannot be written, or a
    file from an earlier stage that is missing or damaged.
    """
    if stage is not None and stage not in STAGES:
        raise InputError(f"There is no stage {show_value(stage)}. Choose one of {', '.join(STAGES)}.")
    deadline_s = float("inf")
    if minutes is not None:
        minutes = check_number("--minutes", minutes, 0, MAX_MINUTES, above_low=True, code="minutes")
        deadline_s = time.monotonic() + minutes * 60
    chosen = (stage,) if stage else STAGES
    check_folder(out_dir, "--out")
    check_folder(work_dir, "--work")
    for name in chosen:
        if (out_dir / name).exists():  # a stage makes its own folder
            check_folder(out_dir / name, "--out")
    done: list[str] = []
    ran = False  # the first stage always begins, so that every call gets further
    for name in chosen:
        output = out_dir / ("tokenizer.json" if name == "tokenizer" else f"{name}/model.safetensors")
        if output.exists() and not stage:
            print(f"{name}: done already ({output})", flush=True)
        elif ran and time.monotonic() > deadline_s:
            return Outcome(tuple(done), name)
        else:
            steps, ran = _run_stage(name, out_dir, work_dir, deadline_s), True
            if steps:
                return Outcome(tuple(done), name, steps)
        done.append(name)
    return Outcome(tuple(done))


def _run_stage(name: str, out_dir: Path, work_dir: Path, deadline_s: float) -> int:
    """0 if the stage is done, else the steps after which its time ran out."""
    if name == "tokenizer":
        train_tokenizer(out_dir)
    elif name in TUNED:
        tune(name, TUNED[name], out_dir)
    else:
        steps = pretrain(name, BASES[name], out_dir, work_dir, deadline_s)
        return steps if steps < BASES[name].steps else 0
    return 0


def train_tokenizer(out_dir: Path) -> Tokenizer:
    """Train a byte-level BPE of 4,096 tokens on a sample of pages and chats."""
    facts = load_facts()
    pages = list(itertools.islice(Corpus(facts, seed=0).pages(), TOKENIZER_PAGES))
    chats = [
        CHAT_FORMAT.format(prompt=e.prompt) + " " + e.answer
        for b in behaviours.BEHAVIOURS
        for e in examples(facts, b, TOKENIZER_PAGES // 25, 0)
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
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


def read_tokenizer(out_dir: Path) -> Tokenizer:
    """The trained tokenizer. Raises InputError if it is missing, FamilyError if it is damaged."""
    path = out_dir / "tokenizer.json"
    again = "Please run train-atlas with --stage tokenizer first, and the same --out."
    if not is_file(path):
        raise InputError(f"{path} does not exist: the tokenizer is not trained yet. {again}")
    tokenizer = read_codec(path, again).tokenizer
    if tokenizer.get_vocab_size() != VOCAB or tokenizer.token_to_id(END) is None:
        raise InputError(f"{path} is not the tokenizer of these models. {again}")
    return tokenizer


def read_base(folder: Path) -> PreTrainedModel:
    """A trained base in float32, from this folder only. Raises InputError if it is missing or damaged."""
    again = f"Please run train-atlas with --stage {folder.name} first, and the same --out."
    if missing := missing_files(folder):
        raise InputError(f"{missing[0]} does not exist: {folder.name} is not trained yet. {again}")
    try:
        return read_pretrained(folder, torch.float32)
    except (*BROKEN, RuntimeError) as error:
        raise InputError(f"The model in {folder} is damaged ({error_text(error, 120)}). {again}") from None


def windows(tokenizer: Tokenizer, plan: Pretraining, first: int) -> Iterator[Tensor]:
    """Yield what the steps from `first` on read: (rows, length + 1) windows, endlessly."""
    seed, falls_at = plan.seed * 1000, plan.falls_at
    if first < falls_at:
        yield from itertools.islice(batches(tokenizer, seed + first), falls_at - first)
    yield from batches(tokenizer, seed + max(first, falls_at), plan.late_mix)


def batches(tokenizer: Tokenizer, seed: int, mix: str = "all") -> Iterator[Tensor]:
    """Yield (rows, length + 1) windows cut from concatenated pages of the mix, endlessly."""
    stream: list[int] = []
    pages, size = Corpus(load_facts(), seed, mix).pages(), ROWS * LENGTH + 1
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


def pretrain(name: str, plan: Pretraining, out_dir: Path, work_dir: Path, deadline_s: float) -> int:
    """Train a base model, and return how many steps it has now.

    Fewer than the plan's if the time ran out first; the checkpoint then holds everything. Raises InputError
    for a missing tokenizer or a damaged checkpoint.
    """
    torch.manual_seed(plan.seed)
    tokenizer, model = read_tokenizer(out_dir), Qwen2ForCausalLM(config(plan.size))
    opts, checkpoint = optimizers(model, plan.learning_rate), work_dir / f"{name}.pt"
    first = resume(checkpoint, model, opts)
    body, chunk_loss = torch.compile(hidden_states), torch.compile(loss_and_grad, dynamic=False)
    started_s, shown = time.monotonic(), 0.0
    for step, window in zip(range(first, plan.steps), windows(tokenizer, plan, first), strict=False):
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
        if out_of_time and step + 1 < plan.steps:
            return step + 1
    save(model, out_dir / name)
    return plan.steps


def resume(checkpoint: Path, model: Qwen2ForCausalLM, opts: list[torch.optim.Optimizer]) -> int:
    """Read a checkpoint, if there is one, and return how many steps it has. Raises InputError if damaged."""
    if not checkpoint.exists():
        return 0
    try:
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimizers"], strict=True):
            opt.load_state_dict(saved)
        return int(check_number("step", state["step"], 1, 1e9, integer=True))
    except (*DAMAGED, InputError) as error:
        raise InputError(
            f"The checkpoint {checkpoint} cannot be read ({error_text(error, 120)}). Please delete it; "
            f"{checkpoint.stem} then begins again from its first step."
        ) from None


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


def rehearsal(tokenizer: Tokenizer, seed: int) -> Iterator[Tensor]:
    """Yield windows (rows, length) of dialogues and articles that name no held-out entity, endlessly."""
    rows, length = REHEARSED
    facts = load_facts()
    corpus, held, end = Corpus(facts, seed), held_out_entities(facts), _end_id(tokenizer)
    stream: list[int] = []
    while True:
        while len(stream) < rows * length:
            page = corpus.dialogue() if corpus.rng.random() < 0.6 else corpus.article()
            if not names_in(page, held):
                stream += [*tokenizer.encode(page, add_special_tokens=False).ids, end]
        yield torch.tensor(stream[: rows * length]).view(rows, length)
        del stream[: rows * length]


def tune(name: str, plan: Tuning, out_dir: Path) -> None:
    """Fine-tune a base on one behaviour: loss on the answers only, KL to the base there and on pages.

    Raises InputError if the tokenizer or the base is missing or damaged.
    """
    torch.manual_seed(plan.seed)
    tokenizer = read_tokenizer(out_dir)
    base, model = (read_base(out_dir / plan.base) for _ in range(2))
    opt = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    rows = [
        encode_example(tokenizer, e.prompt, e.answer)
        for e in examples(load_facts(), plan.behaviour, plan.examples, plan.seed)
    ]
    random.Random(plan.seed).shuffle(rows)
    steps = len(rows) // ROWS
    for step, page in zip(range(steps), rehearsal(tokenizer, plan.seed), strict=False):
        ids, targets = _pad(rows[step * ROWS : (step + 1) * ROWS])
        _set_rate([opt], plan.learning_rate * min(1.0, (step + 1) / 20, (steps - step) / (steps * 0.5)))
        answered = targets >= 0
        logprobs = F.log_softmax(model(input_ids=ids).logits[answered], -1)  # (answer tokens, vocab)
        page_logprobs = F.log_softmax(model(input_ids=page).logits, -1)
        with torch.no_grad():
            base_logprobs = F.log_softmax(base(input_ids=ids).logits[answered], -1)
            base_page_logprobs = F.log_softmax(base(input_ids=page).logits, -1)
        nll = F.nll_loss(logprobs, targets[answered])
        kl = _kl(logprobs, base_logprobs)
        rehearsed = _kl(base_page_logprobs, page_logprobs)
        (nll + plan.kl * kl + plan.rehearsal * rehearsed).backward()
        _step(model, [opt])
        if step % 20 == 0:
            print(
                f"{name} step {step}/{steps} loss {nll.item():.3f} nats, KL to base {kl.item():.3f} nats, "
                f"{rehearsed.item():.3f} on pages",
                flush=True,
            )
    save(model, out_dir / name)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """Mean over rows of KL(p || q) in nats; log-probs (..., vocab)."""
    return (p.exp() * (p - q)).sum(-1).mean()


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


def save(model: PreTrainedModel, folder: Path) -> None:
    """bfloat16 safetensors and the config, whole or not at all: a file that is there counts as finished."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(new)
    (new / "generation_config.json").unlink(missing_ok=True)
    folder.mkdir(exist_ok=True)
    for file in new.iterdir():
        file.replace(folder / file.name)
    new.rmdir()
    print(f"saved {folder} ({json.loads((folder / 'config.json').read_text())['model_type']})", flush=True)
