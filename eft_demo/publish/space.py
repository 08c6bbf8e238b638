"""Writes a repository for a Hugging Face Space: the app with one family, ready to be pushed.

What Spaces have, support and cost is what Hugging Face's documentation said in August 2026. Knows the
catalogue and the files of a copy of this repository. Asks the hub for nothing but commits and names of files.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from string import Template
from typing import Any

import yaml

from eft_demo import __version__
from eft_demo.engine.zerogpu import GOODBYE_S, START_S, STEP_S
from eft_demo.errors import FamilyError, InputError
from eft_demo.families.catalogue import Entry, RoleEntry, find_entry
from eft_demo.families.hub import RepoFacts, look_up, wanted_files
from eft_demo.families.hub_faults import HubUnreachable
from eft_demo.host.outputs import check_folder, writing
from eft_demo.lab.pin import write_pins
from eft_demo.method.roles import LARGE_BASE
from eft_demo.models.memory import CPU, REMOTE
from eft_demo.models.plan import Plan, make_plan
from eft_demo.settings import AUTO_FAMILY, NO_FAMILY, Settings, show_value

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("app.py", "LICENSE", "requirements.txt", "README.md", "assets", "eft_demo")
NOT_NEEDED = (".*", "__pycache__", "*.test.js", "*.d.ts")  # hidden files are those of editors and systems
GPU = "cuda:0"
# The newest that ZeroGPU knows. It has 2.8.0, 2.9.1 and 2.10.0 too.
ZEROGPU_TORCH = "2.11.0"
CPU_BUILDS = "--extra-index-url https://download.pytorch.org/whl/cpu"
LARGE_FILES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"  # git pushes of more than 10 MB need this
STARTUP = "1h"  # the hub's default may be too short to load a large model
SECRET = " The models need the secret `HF_TOKEN`: a read token of an account that accepted their licences."
NOT_PINNED = "The hub did not answer, so the models are not pinned to commits. With a network, they are."
UNKNOWN_SIZE = "The family file gives no `shape` for {}, so whether the models fit is not known."
ENOUGH = 1 << 50  # bytes of a memory that is not asked about
TOKENS = 64  # of the run whose GPU time the README of the Space names


# The hub's names for hardware with the GB of memory of its device, smallest first.
HARDWARE: Mapping[str, Mapping[str, int]] = {
    "zerogpu": {"zero-a10g": 48},  # the name is old: today it is half of an RTX Pro 6000
    "gpu": {"t4-small": 16, "l4x1": 24, "l40sx1": 48, "rtx-pro-6000": 96},
    "cpu": {"cpu-basic": 16},
}


@dataclass(frozen=True, slots=True)
class Space:
    """A written Space: its folder, the hub's name for its hardware, how to push it, and what to know."""

    folder: Path
    flavor: str
    commands: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        steps = "\n".join(f"  {command}" for command in self.commands)
        notes = "".join(f"\nNote: {note}" for note in self.notes)
        return f"{self.folder} is ready. Push it with your name in place of USER:\n{steps}{notes}"


def write_space(settings: Settings, out: Path, hardware: str, family: str) -> Space:
    """Write the repository into `out`. Raises InputError or FamilyError before anything is written."""
    if hardware not in HARDWARE:
        known = ", ".join(HARDWARE)
        raise InputError(f"--hardware must be one of {known}; got {show_value(hardware)}.", code="hardware")
    if missing := [name for name in SOURCES if not (ROOT / name).exists()]:
        raise InputError(f"A Space is made of a copy of the repository, and {ROOT} has no {missing[0]}.")
    entry = find_entry(family, replace(settings, base_url=""))  # the Space does not know that server
    _check_family(entry, hardware)
    flavor, plan = _choose_flavor(entry, settings, hardware)
    _check_empty(out)
    facts = _ask_hub(entry)
    notes = [UNKNOWN_SIZE.format(role) for role in _unknown(entry, plan)[:1]]
    notes += [NOT_PINNED] if facts is None else []
    try:
        with writing(out, "--out"):
            _write(out, entry, facts or {}, plan, hardware, flavor)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)  # half a Space could be pushed by mistake
        raise
    folder, secret = shlex.quote(str(out)), " --secrets HF_TOKEN" if entry.gated else ""
    commands = (
        "hf auth login",
        f"hf repos create USER/eft-demo --type space --sdk gradio --flavor {flavor}{secret} --exist-ok",
        f"hf upload USER/eft-demo {folder} . --type space",
    )
    return Space(out, flavor, commands, tuple(notes))


def _check_family(entry: Entry, hardware: str) -> None:
    """Raise FamilyError if such a Space cannot have the models, or gains nothing by its hardware."""
    if entry.bundled and hardware == "gpu":
        raise FamilyError(
            f"{entry.title} runs on a CPU, so a GPU would cost money and gain nothing. Please choose "
            "--hardware zerogpu or cpu, or another --family."
        )
    if entry.tokenizer not in entry.roles and Path(entry.tokenizer).name != entry.tokenizer:
        raise FamilyError(
            f"The tokenizer of {entry.title} is {show_value(entry.tokenizer)}. Please put it beside the "
            "family file, because a Space gets it from there."
        )
    for role in entry.roles.values():
        if role.is_gguf:
            raise FamilyError(
                f"{role.role} of {entry.title} is a GGUF file, which needs llama.cpp; a Space has none. "
                "Please choose a family of safetensors."
            )
        if role.path is not None and not entry.bundled:
            raise FamilyError(
                f"{role.role} of {entry.title} is a folder of this machine. Please push it to the hub and "
                "name its repository in the family file."
            )


def _check_empty(out: Path) -> None:
    """Create the folder. Raises InputError if it has files, or lies in what is copied into it."""
    inside = [name for name in ("assets", "eft_demo") if out.resolve().is_relative_to(ROOT / name)]
    if inside:
        raise InputError(f"{out} is part of {inside[0]}, which is copied. Please choose another --out.")
    check_folder(out, "--out")
    if any(out.iterdir()):
        raise InputError(f"{out} is not empty. Please choose a new folder with --out.")


def _choose_flavor(entry: Entry, settings: Settings, hardware: str) -> tuple[str, Plan]:
    """The smallest hardware that has room for the family, and its plan there. Raises FamilyError."""
    device = CPU if hardware == "cpu" else GPU
    for flavor, memory_gb in HARDWARE[hardware].items():
        plan = make_plan(entry, settings, free={CPU: ENOUGH, device: memory_gb * 10**9})
        slow = any(place.device == CPU for place in plan.placements) and device != CPU
        if plan.fits and (entry.bundled or not slow):
            return flavor, plan
    raise FamilyError(
        f"{entry.title} does not fit into {memory_gb} GB, the most that --hardware {hardware} has. Please "
        "choose other hardware or a smaller --family."
    )


def _unknown(entry: Entry, plan: Plan) -> list[str]:
    """The roles of whose models the size is not known before the download."""
    models = [place for place in plan.placements if entry.roles[place.role].loaded_with is None]
    return [place.role for place in models if place.device != REMOTE and not place.weights_bytes]


def _repositories(entry: Entry) -> list[RoleEntry]:
    """The roles that a Space loads from the hub."""
    roles = entry.roles.values()
    return [role for role in roles if role.repo is not None and role.same_as is None and not role.optional]


def _ask_hub(entry: Entry) -> dict[str, RepoFacts] | None:
    """The commits and files of the family's repositories, by role; None if the hub does not answer."""
    try:
        return {role.role: look_up(str(role.repo), role.revision) for role in _repositories(entry)}
    except HubUnreachable:
        return None


def _write(
    out: Path, entry: Entry, facts: Mapping[str, RepoFacts], plan: Plan, hardware: str, flavor: str
) -> None:
    """Write all files. Raises OSError, or FamilyError if the family file cannot be pinned."""
    for name in SOURCES:
        _copy(ROOT / name, out / name)
    name = _copy_family(out, entry, facts)
    for made, text in {
        "app.py": app_with_family((ROOT / "app.py").read_text(encoding="utf-8"), name),
        "requirements.txt": requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"), hardware),
        "README.md": _readme(entry, facts, plan, hardware, flavor),
        ".gitattributes": LARGE_FILES,
    }.items():
        (out / made).write_text(text, encoding="utf-8")
    find_entry(name, Settings(assets=out / "assets"))  # as the Space will


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or what a Space needs of a folder. The copies are new files, which can be changed.

    Raises OSError, or InputError for a file that cannot be read.
    """
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for path in source.iterdir():
            if not any(fnmatch(path.name, pattern) for pattern in NOT_NEEDED):
                _copy(path, target / path.name)
        return
    why = "" if source.is_file() else "not a regular file"
    try:
        content = b"" if why else source.read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__name__
    if why:
        raise InputError(
            f"{source} cannot be read ({why}), and a Space gets a copy of it. Please make it readable, or "
            "remove it if you do not need it."
        )
    target.write_bytes(content)


def _copy_family(out: Path, entry: Entry, facts: Mapping[str, RepoFacts]) -> str:
    """The name by which the Space finds the family, whose file is copied and pinned."""
    if entry.bundled:
        _copy(entry.file.parent, out / "assets" / entry.name)
        return entry.name
    name = re.sub(r"[^\w.-]+", "-", entry.name).strip("-.")
    if name in ("", AUTO_FAMILY, NO_FAMILY):
        name = f"{name}-own-file".strip("-")
    file = out / "assets" / "families" / f"{name}.yaml"
    _copy(entry.file, file)
    if entry.tokenizer not in entry.roles:
        own, there = entry.file.parent / entry.tokenizer, file.parent / entry.tokenizer
        if there.exists() and there.read_bytes() != own.read_bytes():
            raise FamilyError(
                f"Another family has the tokenizer {entry.tokenizer} too. Please rename the file of "
                f"{entry.title}, there and in its family file."
            )
        _copy(own, there)
    if facts:
        write_pins(file, facts)
    return name


def app_with_family(app: str, family: str) -> str:
    """The code of app.py, opening `family` unless the Space's variable names another."""
    before = "# With -P"
    line = f'os.environ.setdefault("EFT_FAMILY", "{family}")  # a variable of the Space goes first\n\n'
    return app.replace("import sys\n", "import os\nimport sys\n", 1).replace(before, line + before, 1)


def requirements(text: str, hardware: str) -> str:
    """The requirements with a torch that the hardware knows."""
    if hardware == "cpu":
        return f"{CPU_BUILDS}\n{text}"
    if hardware == "zerogpu":
        pins = f"torch=={ZEROGPU_TORCH}           # the newest that ZeroGPU knows\nspaces"
        return re.sub(r"^torch==.*$", pins, text, flags=re.MULTILINE)
    return text


def _readme(entry: Entry, facts: Mapping[str, RepoFacts], plan: Plan, hardware: str, flavor: str) -> str:
    """The card of the Space: front matter and text."""
    title = "EFT Demo" if entry.bundled else f"EFT Demo: {entry.title}"
    _, front, _ = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card: dict[str, Any] = {**yaml.safe_load(front), "title": title, "suggested_hardware": flavor}
    card["startup_duration_timeout"] = STARTUP
    if repos := _repositories(entry):
        card["models"] = list(dict.fromkeys(str(role.repo) for role in repos))
    if preload := [line for role in repos if (line := _preload(role, facts.get(role.role)))]:
        card["preload_from_hub"] = list(dict.fromkeys(preload))
    text = _filled(
        "README",
        title=title,
        models=_models(entry, repos, facts, plan),
        costs=_filled(hardware, tokens=TOKENS, seconds=round(START_S + GOODBYE_S + STEP_S * TOKENS)),
        secret=SECRET if entry.gated else "",
        licence=entry.licence,
        version=__version__,
    )
    return f"---\n{yaml.safe_dump(card, sort_keys=False, allow_unicode=True)}---\n\n{text}\n"


def _filled(name: str, **values: object) -> str:
    """A template of assets/space with these values."""
    text = (ROOT / "assets" / "space" / f"{name}.md").read_text(encoding="utf-8")
    return Template(text.rstrip("\n")).substitute(values)


def _preload(role: RoleEntry, facts: RepoFacts | None) -> str:
    """What the build of the Space downloads of a role: its repository, with files and commit if known.

    "" for what the start downloads: the build has no token for gated models, and takes a commit only with
    the names of files.
    """
    if role.gated or (facts is None and role.revision):
        return ""
    if facts is None:
        return str(role.repo)
    files = wanted_files(str(role.repo), facts.files, role.adapter_of is not None)
    return f"{role.repo} {','.join(files)} {facts.commit}"


def _models(entry: Entry, repos: list[RoleEntry], facts: Mapping[str, RepoFacts], plan: Plan) -> str:
    if not repos:
        return f"{entry.title}: they are in this repository."
    lines = []
    for role in repos:
        at = f" at {facts[role.role].commit}" if role.role in facts else ""
        lines.append(f"- `{role.role}`: [{role.repo}](https://huggingface.co/{role.repo}){at}")
    if _unknown(entry, plan):
        return "\n".join(lines)
    needed = sum(plan.needed_bytes.values()) / 1e9
    kind = plan.of(LARGE_BASE).quantisation
    stored = "" if kind == "none" else f" with the large model in {kind}"
    return "\n".join([*lines, "", f"Together they take about {needed:.0f} GB of memory{stored}."])
