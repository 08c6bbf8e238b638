"""What a run was made with: versions, number formats, devices and weights, which all affect its numbers.

If all of these are equal, the same seed gives the same text. A trace stores them in full, a link as one short
text; `differences` compares them. Knows no models: `models.provenance` finds the values of this app.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_FACT_CHARS = 40  # the longest we write is a version of torch, such as 2.13.0+cu128
_SEPARATOR = "~"  # needs no encoding in a link
_FACT = re.compile(rf"[\w.+-]{{0,{MAX_FACT_CHARS}}}", re.ASCII)
# How messages name each fact, in order.
_PHRASES = ("EFT Demo {}", "torch {}", "transformers {}", "{} weights", "the device {}", "checkpoints {}")

Facts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelMade:
    """One model of a run. An empty field is unknown."""

    dtype: str  # of its weights, or of the computation if they are quantised: bf16, fp16 or fp32
    quantisation: str  # none, int8, nf4 or fp4
    device: str  # cpu, cuda or remote
    source: str = ""  # its repository; empty for a folder
    revision: str = ""  # a commit, or a hash of a folder's weights

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
    """What a run was made with; `models` are those in its recipes, by role."""

    eft_demo: str
    torch: str
    transformers: str
    models: dict[str, ModelMade] = field(default_factory=dict)

    @property
    def facts(self) -> Facts:
        """Versions, formats, devices and checkpoints as short texts, empty if unknown."""
        models = self.models.values()
        formats, devices = _joined(m.number_format for m in models), _joined(m.device for m in models)
        return (self.eft_demo, self.torch, self.transformers, formats, devices, self._checkpoints)

    @property
    def _checkpoints(self) -> str:
        """A hash of all weights' revisions; empty if any is unknown."""
        known = [(role, model.source, model.revision) for role, model in sorted(self.models.items())]
        if not known or not all(revision for _, _, revision in known):
            return ""
        return hashlib.sha256(repr(known).encode("utf-8", "surrogatepass")).hexdigest()[:8]

    def __str__(self) -> str:
        """Readable text: the versions, then every model."""
        versions = f"EFT Demo {self.eft_demo}, torch {self.torch}, transformers {self.transformers}"
        return "; ".join([versions, *(f"{role} {model}" for role, model in self.models.items())])


def facts_to_text(facts: Facts) -> str:
    """The facts as stored in a link: 0.1.0~2.13.0~5.23.0~bf16~cpu~3f2a91c0."""
    return _SEPARATOR.join(facts)


def facts_from_text(text: str) -> Facts | None:
    """Parse the text of `facts_to_text`; None if it is invalid."""
    facts = tuple(text.split(_SEPARATOR))
    return facts if len(facts) == len(_PHRASES) and all(map(_FACT.fullmatch, facts)) else None


def differences(what: str, there: Facts, here: Facts) -> str:
    """A sentence about the known facts that differ, or "" if none do. `what` is "run" or "link"."""
    pairs = zip(_PHRASES, there, here, strict=True)
    differ = [(phrase, theirs, ours) for phrase, theirs, ours in pairs if theirs and ours and theirs != ours]
    if not differ:
        return ""
    made = ", ".join(phrase.format(theirs) for phrase, theirs, _ in differ)
    now = ", ".join(phrase.format(ours) for phrase, _, ours in differ)
    return f"This {what} was made with {made}; here it is {now}, so a new run may differ."


def _joined(values: Iterable[str]) -> str:
    """Every value once; empty if any is unknown."""
    once = sorted(set(values))
    return "" if "" in once else "-".join(once)
