"""Compare a family's greedy texts with a loop over plain transformers, token by token.

    python scripts/plain_reference.py FAMILY.yaml [--tokens 24] [--questions 5]

The loop shares no code with the app: it reads the family file as YAML, lets transformers and PEFT load the
models, render the chat templates and encode the prompts, and mixes log-softmaxes in float32. The app writes
the same texts with several columns at once, drafts off and on, and prefix reuse in the second turn. The
families' models must be local folders. Where texts differ, the gap between the two likeliest tokens of the
loop shows whether rounding can have decided or something is wrong. Exit code 1 if any text differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package is usually not installed here

from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.families.catalogue import read_entry
from eft_demo.host.terminal import write_stdout
from eft_demo.method.recipe import parse as parse_recipe
from eft_demo.method.sampling_settings import Sampling
from eft_demo.method.speculation import parse_speculation
from eft_demo.runs.conversation import Turn
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import Settings

# First and second turns in five scripts: Latin, Cyrillic, Arabic, Chinese characters, Devanagari.
QUESTIONS = (
    ("What is the capital of Peru?", "And of Chile?"),
    ("Почему небо голубое?", "А почему трава зелёная?"),
    ("ما هي عاصمة مصر؟", "وكم عدد سكانها؟"),
    ("中国的首都是哪里？", "那里有什么好吃的？"),
    ("भारत की राजधानी क्या है?", "वहाँ क्या देखना चाहिए?"),
)
SYSTEMS = ("", "Answer in one short sentence.")
ALPHAS = (1.0, 0.0, 2.0)
SPECULATIONS = ("off", "on 4")
PLACEHOLDER = "{prompt}"
Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Written:
    """A text of the loop: its tokens, and by how many nats each won."""

    ids: list[int]
    gaps: list[float]


class PlainFamily:
    """A family file read with yaml, and its models and tokenizers as transformers loads them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entry = yaml.safe_load(file.read_text(encoding="utf-8"))
        self.roles = {
            role: {"path": given} if isinstance(given, str) else given
            for role, given in self.entry["roles"].items()
        }
        self.behaviours = [b["role"] for b in self.entry["behaviours"]]
        used = ("large_base", "small_base", *self.behaviours)
        self.models = {role: self._model(role) for role in used}
        self.tokenizers = {role: AutoTokenizer.from_pretrained(self._folder(role)) for role in used}
        ends = {end for role in used for end in self._ends(role)}
        self.stops = sorted(ends)

    def _folder(self, role: str) -> Path:
        """The folder of the role's base, which has the tokenizer."""
        given = self.roles[role]
        base = given.get("adapter_of") or given.get("same_as")
        return self._folder(base) if base else self.file.parent / given["path"]

    def _model(self, role: str) -> Any:
        options = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}
        model = AutoModelForCausalLM.from_pretrained(self._folder(role), **options)
        if "adapter_of" in self.roles[role]:
            from peft import PeftModel  # noqa: PLC0415  # only for families with adapters

            model = PeftModel.from_pretrained(model, self.file.parent / self.roles[role]["path"])
        return model.eval()

    def _ends(self, role: str) -> set[int]:
        ends = self.models[role].generation_config.eos_token_id
        own = self.tokenizers[role].eos_token_id
        return {*(ends if isinstance(ends, list) else [ends]), own} - {None}

    def prompt(self, role: str, question: str, turns: Turns, system: str) -> list[int]:
        """The ids of the role's prompt, as transformers makes them."""
        tokenizer = self.tokenizers[role]
        form = self.roles[role].get("prompt", self.entry.get("prompt", PLACEHOLDER))
        if form == "chat" or (isinstance(form, dict) and form["kind"] == "chat"):
            own = "" if form == "chat" else form.get("text", "")
            messages = [{"role": "system", "content": own or system}] if own or system else []
            for asked, answer in turns:
                messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            messages.append({"role": "user", "content": question})
            return list(
                tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            )
        text = form if isinstance(form, str) else form["text"]
        shots, gap, form = text.rpartition("\n\n")  # examples come once
        parts = [
            *(f"{form.replace(PLACEHOLDER, asked)} {answer.strip()}" for asked, answer in turns),
            form.replace(PLACEHOLDER, question),
        ]
        return list(tokenizer(shots + gap + (gap or "\n").join(parts))["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without control tokens."""
        kept = [i for i in ids if i not in self.stops]
        return str(self.tokenizers["large_base"].decode(kept, skip_special_tokens=True))

    @torch.inference_mode()
    def write(self, prompts: Mapping[str, list[int]], alpha: float, tuned: str, count: int) -> Written:
        """Greedy tokens of `large_base + alpha*(tuned - small_base)`, or of large_base if `tuned` is empty.

        Ends after a stop token or `count` tokens.
        """
        roles = ["large_base", tuned, "small_base"] if tuned else ["large_base"]
        vocab = len(self.tokenizers["large_base"])
        caches: dict[str, Any] = dict.fromkeys(roles)
        new = {role: torch.tensor([prompts[role]]) for role in roles}
        written = Written([], [])
        while len(written.ids) < count:
            rows = {}
            for role in roles:
                out = self.models[role](new[role], past_key_values=caches[role], use_cache=True)
                caches[role] = out.past_key_values
                rows[role] = self._pooled(torch.log_softmax(out.logits[0, -1, :vocab].float(), -1))
            mix = rows["large_base"]
            if tuned:
                mix = mix + alpha * (rows[tuned] - rows["small_base"])
            mix[self.stops[1:]] = -torch.inf
            best = mix.topk(2)
            written.ids.append(int(best.indices[0]))
            written.gaps.append(float(best.values[0] - best.values[1]))
            if written.ids[-1] in self.stops:
                break
            new = dict.fromkeys(roles, torch.tensor([written.ids[-1:]]))
        return written

    def _pooled(self, row: torch.Tensor) -> torch.Tensor:
        """One end in place of several: models of a family may end texts with different tokens."""
        row[self.stops[0]] = row[self.stops].logsumexp(0)
        return row


@dataclass(slots=True)
class Count:
    """How many texts were compared and how many were equal."""

    equal: int = 0
    total: int = 0

    def add(self, what: str, loop: Written, said: str, trace: ColumnTrace) -> None:
        """Compare the app's column with what the loop wrote, the text `said`, and print where they differ."""
        ids = [record.id for record in trace.tokens]
        self.total += 1
        self.equal += loop.ids == ids
        if trace.error:
            write_stdout(f"ERROR {what}: {trace.error}")
        elif trace.text.strip() != said.strip():
            write_stdout(f"OTHER TEXT {what}: loop {said!r}, app {trace.text!r}")
        if loop.ids != ids:
            pairs = zip(loop.ids, ids, strict=False)
            short = min(len(loop.ids), len(ids))
            at = next((i for i, (mine, yours) in enumerate(pairs) if mine != yours), short)
            gap = f"{loop.gaps[at]:.2g} nats ahead" if at < len(loop.gaps) else "it had ended"
            write_stdout(
                f"DIFFERENT {what}: token {at}, loop {loop.ids[at:][:1]} ({gap}), app {ids[at:][:1]}"
            )


def compare(file: Path, tokens: int, questions: int) -> Count:
    """Compare two turns of each question, in every column, with drafts off and on."""
    plain, count = PlainFamily(file), Count()
    service = Service.load(
        Settings(dtype="fp32", threads=torch.get_num_threads(), deadline_s=3600.0), read_entry(file)
    )
    try:
        for number, pair in enumerate(QUESTIONS[:questions]):
            alpha, system = ALPHAS[number % len(ALPHAS)], SYSTEMS[number % len(SYSTEMS)]
            _compare_conversation(plain, service, count, pair, alpha, system, tokens)
            write_stdout(f"{count.equal} of {count.total} texts are equal")
    finally:
        service.stop()
    return count


def _compare_conversation(
    plain: PlainFamily,
    service: Service,
    count: Count,
    questions: Sequence[str],
    alpha: float,
    system: str,
    tokens: int,
) -> None:
    """Every column keeps its own history; the loop goes on from its own answers, the app from its own."""
    columns = ["", *plain.behaviours]
    recipes = [f"large_base + alpha*({role} - small_base)" if role else "large_base" for role in columns]
    loop_turns: list[list[tuple[str, str]]] = [[] for _ in columns]
    app_turns: dict[str, list[list[str]]] = {speculation: [] for speculation in SPECULATIONS}
    for question in questions:
        loops = []
        for role, turns in zip(columns, loop_turns, strict=True):
            used = ("large_base", "small_base", role) if role else ("large_base",)
            prompts = {name: plain.prompt(name, question, turns, system) for name in used}
            loops.append(plain.write(prompts, alpha, role, tokens))
            turns.append((question, plain.decode(loops[-1].ids)))
        for speculation, earlier in app_turns.items():
            spec = RunSpec(
                prompt=question,
                system=system,
                turns=tuple(Turn(asked, tuple(answers)) for asked, *answers in earlier),
                columns=tuple((f"column {index}", parse_recipe(text)) for index, text in enumerate(recipes)),
                controls={"alpha": alpha},
                sampling=Sampling(temperature=0),
                speculation=parse_speculation(speculation),
                length=tokens,
            )
            traces = collect(service.start_run(spec))
            earlier.append([question, *(trace.text for trace in traces)])
            for trace, loop, turns in zip(traces, loops, loop_turns, strict=True):
                what = f"{question} / {trace.recipe}, alpha {alpha:g}, drafts {speculation}"
                count.add(what, loop, turns[-1][1], trace)


def main() -> None:
    """Compare and print the counts; exit code 1 if a text differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("family", type=Path, help="a family file whose models are local folders")
    parser.add_argument("--tokens", type=int, default=24, help="tokens per text")
    parser.add_argument("--questions", type=int, default=len(QUESTIONS), help="how many of the questions")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    count = compare(given.family, given.tokens, given.questions)
    raise SystemExit(count.equal < count.total)


if __name__ == "__main__":
    main()
