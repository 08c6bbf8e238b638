"""Checks what is installed here, what was chosen and why, and whether the family can generate a token.

Every check gives one line and cannot stop the others, so that one report shows everything that is wrong.
Uses only the public functions of other rooms; repairs nothing.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import torch

from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.errors import FamilyError
from eft_demo.families.catalogue import Entry, find_entry, known_files, list_entries
from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family, encode_prompt, load_family, local_folders
from eft_demo.families.hub import nearest_folder
from eft_demo.families.hub_faults import cache_folder
from eft_demo.families.weights import ADAPTER_WEIGHTS, weight_files
from eft_demo.lab.checks import Check, check
from eft_demo.models.dtype import choose_dtype, compare_speed
from eft_demo.models.estimate import choose_here, estimate, read_speed
from eft_demo.models.memory import REMOTE, free_memory
from eft_demo.models.plan import Placement, engine_threads, make_plan
from eft_demo.models.quantise import NONE
from eft_demo.runs.prompt_format import PLACEHOLDER, PromptFormat
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import AUTO_FAMILY, DEFAULT_THREADS, Settings

PROMPT = "What is the capital of Peru?"
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
PIN = re.compile(r"^([\w-]+)==(\S+)", re.MULTILINE)


def examine(settings: Settings, family_name: str) -> list[Check]:
    """Run all checks, in the order in which they depend on each other. Errors of checks become lines."""

    def entry() -> Entry:
        return find_entry(family_name, settings)

    checks = [check("python", lambda: f"{platform.python_version()} ({sys.executable})"), *_version_checks()]
    checks.append(check("machine", _machine))
    checks.append(check("memory", _memory))
    checks.append(check("cache", lambda: _cache(settings)))
    checks.append(check("dtype", lambda: _dtype(settings, _threads(settings, family_name))))
    checks.append(check("catalogue", lambda: _catalogue(settings)))
    checks.append(check("plan", lambda: _plan(entry(), settings)))
    checks.append(check("family", lambda: _family(load_family(entry(), settings), entry())))
    checks.append(check("tokenizer", lambda: _tokenizer(load_family(entry(), settings))))
    checks.append(check("one token", lambda: _one_token(settings, entry())))
    return checks


def estimates(settings: Settings, family_name: str | None) -> list[Check]:
    """What a family, or else each one of the catalogue, would take here. Downloads nothing."""
    if family_name == AUTO_FAMILY:
        name, reason = choose_here(settings)
        return [Check(name, True, f"chosen by --family auto: {reason}")]
    names = list(known_files(settings)) if family_name is None else [family_name]
    return [check(name, partial(_estimate, name, settings)) for name in names]


def _estimate(name: str, settings: Settings) -> str:
    found = estimate(find_entry(name, settings), settings, read_speed)
    found.plan.check()
    return str(found)


def _version_checks() -> list[Check]:
    """One check per pin of requirements.txt. A local build tag (2.13.0+cpu) is the same version."""
    pins = PIN.findall(REQUIREMENTS.read_text()) if REQUIREMENTS.exists() else []
    return [_version_check(package, wanted) for package, wanted in pins]


def _version_check(package: str, wanted: str) -> Check:
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        return Check(package, False, f"not installed; needed {wanted}. pip install -r requirements.txt")
    same = found.split("+")[0] == wanted
    advice = f"{found} installed, {wanted} needed. pip install -r requirements.txt"
    return Check(package, same, found if same else advice)


def _machine() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return f"{os.cpu_count()} CPUs, GPU: {gpu}, {platform.platform()}"


def _threads(settings: Settings, family_name: str) -> int:
    """Torch threads that the engine uses for the family; the default if there is no such family."""
    try:
        return engine_threads(find_entry(family_name, settings), settings)
    except FamilyError:
        return settings.threads or DEFAULT_THREADS


def _dtype(settings: Settings, threads: int) -> str:
    used = f"{threads} torch thread{'s' * (threads > 1)}"
    return f"{choose_dtype(settings).reason}; with {used}, {compare_speed(threads)}"


def _memory() -> str:
    return ", ".join(f"{device} {room / 1e9:.1f} GB free" for device, room in free_memory().items())


def _cache(settings: Settings) -> str:
    """The download folder, its free space, and the families downloaded already."""
    folder = cache_folder()
    here = [entry.name for entry in list_entries(settings) if not entry.bundled and _is_here(entry)]
    nearest = nearest_folder(folder)
    free = f"{shutil.disk_usage(nearest).free / 1e9:.1f} GB free"
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        free = "where nothing can be saved: to download families, set HF_HOME to a writable folder"
    return f"{folder}, {free}; downloaded: {', '.join(here) or 'none'}"


def _is_here(entry: Entry) -> bool:
    try:
        return bool(local_folders(entry))
    except FamilyError:
        return False


def _catalogue(settings: Settings) -> str:
    entries = list_entries(settings)
    unpinned = [entry.name for entry in entries if not entry.pinned]
    note = f", {len(unpinned)} of them not pinned to commits" if unpinned else ""
    return f"{len(entries)} families{note}: {', '.join(entry.name for entry in entries)}"


def _plan(entry: Entry, settings: Settings) -> str:
    """Where each model goes. Raises OutOfMemory if the family does not fit."""
    plan = make_plan(entry, settings)
    plan.check()
    needed, full = (_by_device(sizes) for sizes in (plan.needed_bytes, plan.full_bytes))
    places = "; ".join(map(_placement, plan.placements))
    warning = f" {plan.warning}" if plan.warning else ""
    return f"needs {needed}; room for {plan.rows} full sequences, which take {full}: {places}.{warning}"


def _placement(place: Placement) -> str:
    if place.device == REMOTE:
        return f"{place.role} {place.reason}"
    dtype = str(place.dtype).removeprefix("torch.")
    stored = dtype if place.quantisation == NONE else f"{dtype} {place.quantisation}"
    return f"{place.role} {place.weights_bytes / 1e6:,.1f} MB, {stored} on {place.device}"


def _by_device(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{device} {size / 1e9:.1f} GB" for device, size in sizes.items())


def _family(family: Family, entry: Entry) -> str:
    files = [file for checkpoint in family.roles.values() for file in _weights(checkpoint)]
    size = sum(file.stat().st_size for file in files)
    pinned = "" if entry.pinned else ", unpinned"
    return f"{family.title}{pinned}, {size / 1e6:.1f} MB of weights for {', '.join(family.roles)}"


def _weights(checkpoint: Checkpoint) -> Sequence[Path]:
    if checkpoint.same_as is not None or checkpoint.server is not None:
        return []
    if checkpoint.adapter_of is not None:
        return [checkpoint.path / ADAPTER_WEIGHTS]
    return weight_files(checkpoint.path)


def _tokenizer(family: Family) -> str:
    """Check that text survives encoding byte for byte, and that a control token typed as text stays text."""
    text = "Zürich 東京 👩‍🔬 " + "".join(family.codec.control_ids)
    ids = encode_prompt(family, next(iter(family.roles)), text, PromptFormat("plain", PLACEHOLDER))
    ids = ids[1:] if family.bos_id is not None and ids[0] == family.bos_id else ids
    back = b"".join(family.token_bytes[i] for i in ids).decode()
    # Some tokenizers write a space before the first word of every text.
    if back.removeprefix(" ") != text or family.stop_ids & set(ids):
        raise FamilyError(f"The tokenizer of {family.title} does not reproduce its input text: {back!r}.")
    ends = ", ".join(sorted(token for token, i in family.codec.control_ids.items() if i in family.stop_ids))
    return f"{family.vocab:,} tokens shared by all roles, lossless, stop tokens: {ends}"


def _one_token(settings: Settings, entry: Entry) -> str:
    """Run one token in three columns, as the page would. Downloads nothing."""
    local_folders(entry)
    service = Service.load(settings, entry)
    try:
        traces = collect(service.start_run(RunSpec(prompt=PROMPT, length=1)))
    finally:
        service.stop()
    broken = [trace.error for trace in traces if trace.error]
    if broken:
        raise FamilyError(broken[0])
    answers = ", ".join(f"{t.name}: {t.text!r} after {1000 * t.ttft_s:.0f} ms" for t in traces)
    places = service.plan.placements if service.plan else ()
    servers = [f"{place.role} {place.reason}" for place in places if place.device == REMOTE]
    return "; ".join([answers, *servers])
