"""What decided a run's numbers beside the question: number formats, devices, versions, weights.

Where all of these are the same, a seed gives the same text. A trace holds them in full, a link as one short
text; both are compared here, in a sentence. Knows no models: `models.provenance` says what holds here.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_FACT_CHARS = 40  # the longest that we write is a version of torch, such as 2.13.0+cu128
_SEPARATOR = "~"  # stands in a link as it is
_FACT = re.compile(rf"[\w.+-]{{0,{MAX_FACT_CHARS}}}", re.ASCII)
# How a sentence names each of the facts, in their order.
_SAID = ("EFT Demo {}", "torch {}", "transformers {}", "{} weights", "the device {}", "checkpoints {}")

Facts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelMade:
    """One model of a run. What is empty is not known."""

    dtype: str  # of its weights, or where they are quantised of what is calculated: bf16, fp16 or fp32
    quantisation: str  # none, int8, nf4 or fp4
    device: str  # cpu or cuda
    source: str = ""  # its repository; empty for a folder
    revision: str = ""  # a commit, or what the bytes of a folder's weights come to

    @property
    def number_format(self) -> str:
        """How its weights are stored."""
        return self.dtype if self.quantisation in ("", "none") else self.quantisation

    def __str__(self) -> str:
        weights = self.source + (f"@{self.revision[:12]}" if self.revision else "")
        return " ".join(
            part for part in (self.number_format, self.device and f"on {self.device}", weights) if part
        )


@dataclass(frozen=True, slots=True)
class MadeWith:
    """What a run was made with; `models` are those that its recipes name, by role."""

    eft_demo: str
    torch: str
    transformers: str
    models: dict[str, ModelMade] = field(default_factory=dict)

    @property
    def facts(self) -> Facts:
        """Versions, formats, devices, checkpoints: each one short text, empty if not known."""
        models = self.models.values()
        formats, devices = _joined(m.number_format for m in models), _joined(m.device for m in models)
        return (self.eft_demo, self.torch, self.transformers, formats, devices, self._checkpoints)

    @property
    def _checkpoints(self) -> str:
        """Another text if any of the weights are others; empty if some are not known."""
        known = [(role, model.source, model.revision) for role, model in sorted(self.models.items())]
        if not known or not all(revision for _, _, revision in known):
            return ""
        return hashlib.sha256(repr(known).encode("utf-8", "surrogatepass")).hexdigest()[:8]

    def __str__(self) -> str:
        """For people: the versions, then every model."""
        versions = f"EFT Demo {self.eft_demo}, torch {self.torch}, transformers {self.transformers}"
        return "; ".join([versions, *(f"{role} {model}" for role, model in self.models.items())])


def join_short(facts: Facts) -> str:
    """The facts as a link holds them: 0.1.0~2.13.0~5.23.0~bf16~cpu~3f2a91c0."""
    return _SEPARATOR.join(facts)


def read_short(text: str) -> Facts | None:
    """The facts of such a text, or None if it is none."""
    facts = tuple(text.split(_SEPARATOR))
    return facts if len(facts) == len(_SAID) and all(map(_FACT.fullmatch, facts)) else None


def differences(what: str, there: Facts, here: Facts) -> str:
    """A sentence that names what differs, where both are known; "" if nothing does. `what`: run or link."""
    pairs = zip(_SAID, there, here, strict=True)
    differ = [(said, theirs, ours) for said, theirs, ours in pairs if theirs and ours and theirs != ours]
    if not differ:
        return ""
    made = ", ".join(said.format(theirs) for said, theirs, _ in differ)
    now = ", ".join(said.format(ours) for said, _, ours in differ)
    return f"This {what} was made with {made}; here it is {now}, so a new run may differ."


def _joined(values: Iterable[str]) -> str:
    """Every value once; empty if one of them is not known."""
    once = sorted(set(values))
    return "" if "" in once else "-".join(once)
