"""Pins every repository of the catalogue to a commit, after checking its tokenizers and sizes.

Maintainers of the catalogue run it on a machine with network access: `python -m eft_demo doctor --pin`. Only
configs and tokenizers are downloaded. A family file is written only if all its checks pass, and only its
commits and licences change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eft_demo.errors import EFTError, FamilyError
from eft_demo.families.catalogue import BUNDLED_FILE, NF4, Entry, RoleEntry, find_entry, known_files
from eft_demo.families.checkpoint import read_config
from eft_demo.families.files import is_file
from eft_demo.families.hub import RepoFacts, download_config, look_up
from eft_demo.families.hub_faults import HubUnreachable
from eft_demo.families.schema import read_yaml
from eft_demo.families.tokens import read_codec
from eft_demo.families.vocabulary import compare_vocabularies
from eft_demo.families.weights import BROKEN
from eft_demo.host.outputs import check_file, replace_file, writing
from eft_demo.lab.checks import Check
from eft_demo.models.shape import cache_shape
from eft_demo.settings import Settings

NO_REPOSITORY = "needs no pin: its models are folders on this machine, not repositories of the hub"
UNREACHABLE = "The schema of every family file is checked below; nothing is pinned."


@dataclass(frozen=True, slots=True)
class _Found:
    """What the hub has for one role."""

    facts: RepoFacts
    folder: Path | None  # with its config and tokenizer; None for a GGUF file, which has them inside


def pin(settings: Settings, family_name: str | None = None) -> list[Check]:
    """Pin one family, or all that are not bundled. Errors of checks become lines of the report."""
    names = [name for name, path in known_files(settings).items() if path.name != BUNDLED_FILE]
    checks: list[Check] = []
    reachable = True
    for name in names if family_name is None else [family_name]:
        try:
            entry = find_entry(name, settings)
            checks.append(Check(f"{name} schema", True, f"{len(entry.roles)} roles, {entry.file}"))
            if not any(role.repo for role in entry.roles.values()):
                checks.append(Check(f"{entry.name} pin", True, NO_REPOSITORY))
            elif reachable:
                check_file(entry.file, "--family-file")  # before downloading anything
                checks += _pin_entry(entry)
        except HubUnreachable as error:
            reachable = False
            checks.insert(0, Check("network", False, f"{error} {UNREACHABLE}"))
        except EFTError as error:
            checks.append(Check(name, False, str(error)))
    return checks


def _pin_entry(entry: Entry) -> list[Check]:
    """Look up, check and pin one family."""
    found: dict[str, _Found] = {}
    checks: list[Check] = []
    for role in entry.roles.values():
        if role.repo is None or role.same_as is not None:
            continue
        try:
            facts = look_up(role.repo)
            found[role.role] = _Found(facts, None if role.gguf else download_config(role.repo, facts))
            problem = _problem(role, found[role.role])
            detail = f"{role.repo} at {facts.commit[:7]}, licence {facts.licence or 'not named'}"
            checks.append(Check(f"{entry.name} {role.role}", not problem, problem or detail))
        except HubUnreachable:
            raise
        except EFTError as error:
            checks.append(Check(f"{entry.name} {role.role}", False, str(error)))
    try:
        owner = entry.roles.get(entry.tokenizer)
        if owner is not None and owner.is_gguf:
            detail = "in the GGUF files, compared when they are loaded"
        else:
            detail = f"{_compare_tokenizers(entry, found):,} ids in common, one by one"
        checks.append(Check(f"{entry.name} tokenizers", True, detail))
    except EFTError as error:
        checks.append(Check(f"{entry.name} tokenizers", False, str(error)))
    if all(check.ok for check in checks):
        write_pins(entry.file, {role: place.facts for role, place in found.items()})
        checks.append(Check(f"{entry.name} pinned", True, str(entry.file)))
    return checks


def _problem(role: RoleEntry, found: _Found) -> str:
    """What the catalogue states wrongly about a role's file or size; "" if all is right."""
    if found.folder is None:
        return "" if role.gguf in found.facts.files else f"{role.repo} has no file {role.gguf}."
    if role.shape is None:
        return ""
    try:
        config = read_config(found.folder)
        cache = cache_shape(config)
        real = {
            "width": int(config["vocab_size"]),
            "hidden": int(config["hidden_size"]),
            "layers": cache.layers,
            "kv_heads": cache.kv_heads,
            "head_dim": cache.head_dim,
            "quantised": _stored_format(config),
        }
    except BROKEN as error:
        return f"{role.repo}: its config.json cannot be read ({type(error).__name__}: {error})."
    wrong = [
        f"{name} is {value or 'nothing'}, not {getattr(role.shape, name) or 'nothing'}"
        for name, value in real.items()
        if getattr(role.shape, name) != value
    ]
    return f"{role.repo}: {', '.join(wrong)}. Please correct the family file." if wrong else ""


def _stored_format(config: Mapping[str, Any]) -> str:
    """The format of the weights by the name that a family file has for it; "" if they are plain."""
    stored = config.get("quantization_config")
    if not stored:
        return ""
    kind = str(
        stored.get("bnb_4bit_quant_type") if stored.get("load_in_4bit") else stored.get("quant_method")
    )
    # The plan counts scales that are quantised too.
    return (
        kind
        if kind != NF4 or stored.get("bnb_4bit_use_double_quant")
        else f"{kind} without double quantisation"
    )


def _compare_tokenizers(entry: Entry, found: Mapping[str, _Found]) -> int:
    """The number of ids that all roles share. Raises FamilyError with the first differences."""
    paths = _tokenizer_files(entry, found)
    if entry.tokenizer not in paths:
        raise FamilyError(f"{entry.tokenizer} was not found on the hub, so nothing can be compared with it.")
    if not is_file(paths[entry.tokenizer]):
        raise FamilyError(f"{entry.tokenizer} of {entry.name} has no tokenizer.json. {entry.advice}")
    codecs = {name: read_codec(path, entry.advice) for name, path in paths.items() if is_file(path)}
    return compare_vocabularies(
        {name: codec.tokenizer.get_vocab(with_added_tokens=True) for name, codec in codecs.items()}
    )


def _tokenizer_files(entry: Entry, found: Mapping[str, _Found]) -> dict[str, Path]:
    """Where a tokenizer may be: in the folder of each role, local or found, or beside the family file."""
    folders = {role.role: role.path for role in entry.roles.values() if role.path is not None}
    folders |= {role: place.folder for role, place in found.items() if place.folder is not None}
    paths = {role: folder / "tokenizer.json" for role, folder in folders.items()}
    if entry.tokenizer not in entry.roles:
        paths[entry.tokenizer] = entry.file.parent / entry.tokenizer
    return paths


def write_pins(path: Path, facts: Mapping[str, RepoFacts]) -> None:
    """Write commits and licences into a family file, leaving other lines unchanged. Raises FamilyError."""
    lines = path.read_text(encoding="utf-8").splitlines()
    roles = read_yaml(path, "").parts["roles"].parts
    # From the last role up, so that the lines above keep their numbers.
    for role in sorted(facts, key=lambda role: -roles[role].parts["repo"].line):
        parts = roles[role].parts
        at = parts["repo"].line - 1
        if not lines[at].strip().startswith("repo:"):
            raise parts["repo"].error("This cannot be pinned. Please put every entry on its own line.")
        indent = lines[at][: lines[at].index("repo:")]
        old = {parts[name].line - 1 for name in ("revision", "licence") if name in parts}
        known = facts[role]
        licence = [f"{indent}licence: {known.licence}"] if known.licence else []
        new = [lines[at], f"{indent}revision: {known.commit}", *licence]
        end = max(old, default=at)
        kept = [line for number, line in enumerate(lines[at + 1 : end + 1], at + 1) if number not in old]
        lines[at : end + 1] = [*new, *kept]
    with writing(path, "--family-file"):
        replace_file(path, "\n".join(lines) + "\n")
