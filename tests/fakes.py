"""A service without weights for tests of the page: a real engine around scripted models.

Every model repeats the (last) prompt byte by byte, so a hostile prompt becomes hostile output that is split
inside characters. For the prompt `chant`, the base repeats "l" and the tuned model "h" endlessly: the letter
in the up-scaled column shows its alpha. For `brief chant`, the tuned model stops after three letters.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from eft_demo.engine.engine import Engine
from eft_demo.engine.service import Service
from eft_demo.families.catalogue import Behaviour
from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family
from eft_demo.families.tokens import make_codec
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.settings import Settings
from tests.tiny import BEHAVIOURS, STOP, make_tokenizer
from tests.toy import ToyModel

NEXT_TURN = b"\nUser: "
ROLES = ("large_base", "small_base", "large_tuned", *BEHAVIOURS)
CHANT, BRIEF_CHANT = "chant", "brief chant"
LEAD_NATS = 4.0  # the base prefers low by this much, tuning prefers high by twice as much
ANSWER = b"\nAssistant:"
NOWHERE = Path("no weights")


class EchoModel(ToyModel):
    """Repeats the prompt; or chants, pausing `pause_s` per token so that tests can follow the stream."""

    def __init__(self, name: str, family: Family, pause_s: float = 0.0) -> None:
        super().__init__(name, family.vocab, context=family.context)
        self.family, self.pause_s = family, pause_s
        self.id_of_byte = {piece: token for token, piece in enumerate(family.token_bytes) if len(piece) == 1}

    def logits_after(self, history: Sequence[int]) -> Tensor:
        text = b"".join(self.family.token_bytes[token] for token in history)
        text = text[text.rfind(NEXT_TURN) + 1 :]  # the last turn of a conversation
        question, seam, said = text.partition(ANSWER)
        prompt = question.removeprefix(b"User: ")
        logits = torch.zeros(self.vocab)
        if not seam:
            return logits
        if prompt.startswith((CHANT.encode(), BRIEF_CHANT.encode())):
            if prompt.startswith(BRIEF_CHANT.encode()) and len(said) >= 3 and self.name in BEHAVIOURS:
                logits[next(iter(self.family.stop_ids))] = 12.0 + 3 * LEAD_NATS
            return self._chant(logits)
        rest = prompt[len(said) :]
        logits[self.id_of_byte[rest[:1]] if rest else 0] = 12.0
        return logits

    def _chant(self, logits: Tensor) -> Tensor:
        time.sleep(self.pause_s)
        low, high = (self.id_of_byte[letter] for letter in (b"l", b"h"))
        logits[low] = logits[high] = 12.0
        if self.name == "large_base":
            logits[low] += LEAD_NATS
        elif self.name in BEHAVIOURS:
            logits[high] += 2 * LEAD_NATS
        return logits


def make_family(context: int = 8192) -> Family:
    """A byte-level family that exists only in memory."""
    tokenizer = make_tokenizer(300, ["User: What is it?\nAssistant: It is."])
    stop_id = tokenizer.token_to_id(STOP)
    assert stop_id is not None
    codec = make_codec(tokenizer)
    behaviours = tuple(Behaviour(role, role.title(), f"Speaks as {role}.") for role in BEHAVIOURS)
    return Family(
        name="echo",
        title="Echo",
        licence="Apache-2.0",
        roles={role: Checkpoint(role, NOWHERE) for role in ROLES},
        behaviours=behaviours,
        prompts=dict.fromkeys(ROLES, PromptFormat("plain", "User: {prompt}" + ANSWER.decode())),
        stop_ids=frozenset({stop_id}),
        context=context,
        codec=codec,
        token_bytes=codec.token_bytes,
    )


def make_service(settings: Settings, pause_s: float = 0.0) -> Service:
    """A started service with echoing models; the caller must stop it."""
    family = make_family()
    pauses = {"large_base": pause_s}
    models = {role: EchoModel(role, family, pauses.get(role, 0.0)) for role in ROLES}
    engine = Engine(models, family.stop_ids, settings, family.token_bytes)
    service = Service(family, engine, settings, ("Echo", "no weights"))
    service.start()
    return service
