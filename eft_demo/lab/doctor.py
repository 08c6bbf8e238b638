"""What is installed here, what was chosen and why, and whether the family can say a word.

Every check gives a row and none ends the examination, so that one report shows everything that is wrong.
Knows the other rooms only from outside; does not repair anything.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from eft_demo.engine.engine import DEFAULT_THREADS
from eft_demo.engine.service import Service, default_panels
from eft_demo.errors import EFTError, FamilyError
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.families.prompt import PLACEHOLDER, PromptFormat
from eft_demo.lab.collect import collect
from eft_demo.models.dtype import choose_dtype
from eft_demo.settings import Settings

PROMPT = "What is the capital of Peru?"
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
PIN = re.compile(r"^([\w-]+)==(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `detail` is a sentence or a value; for a failed check, what to do."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings, family_name: str) -> list[Check]:
    """Every check, in the order in which they build on each other. Raises nothing that a check may raise."""
    checks = [_check("python", lambda: f"{platform.python_version()} ({sys.executable})"), *_version_checks()]
    checks.append(_check("machine", lambda: _machine(settings)))
    checks.append(_check("dtype", lambda: choose_dtype(settings).reason))
    checks.append(_check("family", lambda: _family(load_family(family_name, settings))))
    checks.append(_check("tokenizer", lambda: _tokenizer(load_family(family_name, settings))))
    checks.append(_check("one token", lambda: _one_token(settings, family_name)))
    return checks


def _check(name: str, examine_it: Callable[[], str]) -> Check:
    try:
        return Check(name, True, examine_it())
    except EFTError as error:
        return Check(name, False, str(error))
    except Exception as error:  # the report must come out whatever is broken
        return Check(name, False, f"{type(error).__name__}: {error}")


def _version_checks() -> list[Check]:
    """One check per pin of requirements.txt. A local build tag (2.13.0+cpu) is the same version."""
    pins = PIN.findall(REQUIREMENTS.read_text()) if REQUIREMENTS.exists() else []
    return [_version_check(package, wanted) for package, wanted in pins]


def _version_check(package: str, wanted: str) -> Check:
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        return Check(package, False, f"not installed; wanted {wanted}. pip install -r requirements.txt")
    same = found.split("+")[0] == wanted
    advice = f"{found} installed, {wanted} wanted. pip install -r requirements.txt"
    return Check(package, same, found if same else advice)


def _machine(settings: Settings) -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    threads = f"{os.cpu_count()} CPUs, the engine uses {settings.threads or DEFAULT_THREADS} for torch"
    return f"{threads}, GPU: {gpu}, {platform.platform()}"


def _family(family: Family) -> str:
    size = sum((checkpoint.path / "model.safetensors").stat().st_size for checkpoint in family.roles.values())
    return f"{family.title}, {size / 1e6:.1f} MB of weights for {', '.join(family.roles)}"


def _tokenizer(family: Family) -> str:
    """Text comes back from its tokens byte for byte, and a control token typed as text stays text."""
    text = " Zürich 東京 👩‍🔬 <|endoftext|>"
    ids = encode_prompt(family, next(iter(family.roles)), text, PromptFormat("plain", PLACEHOLDER))
    back = b"".join(family.token_bytes[i] for i in ids).decode()
    if back != text or family.stop_ids & set(ids):
        raise FamilyError(f"The tokenizer of {family.title} gives back another text than it got: {back!r}.")
    return f"{family.vocab:,} tokens, any text comes back whole"


def _one_token(settings: Settings, family_name: str) -> str:
    """A run of one token in three panels, as the page makes them."""
    service = Service.load(settings, family_name)
    try:
        role = service.family.behaviours[0].role
        panels = default_panels(role)
        traces = collect(service.start_run(PROMPT, role, max_new_tokens=1), panels)
    finally:
        service.stop()
    broken = [trace.error for trace in traces if trace.error]
    if broken:
        raise FamilyError(broken[0])
    return ", ".join(f"{t.name} says {t.text!r} after {1000 * t.ttft_s:.0f} ms" for t in traces)
