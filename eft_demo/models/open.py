"""Opens a family: plans, downloads, checks and loads it, with progress and cancelling.

Does not deal with the family that was open before: the caller decides whether to close that one first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from eft_demo.families.catalogue import Entry, find_entry
from eft_demo.families.family import Family, chosen_roles, load_family
from eft_demo.families.hub import QUIET, Watcher, download
from eft_demo.families.server import NO_FILES
from eft_demo.method.roles import LARGE_BASE
from eft_demo.models.llama_cpp import check_installed
from eft_demo.models.load import load_models
from eft_demo.models.memory import free_unused, is_out_of_memory, out_of_memory
from eft_demo.models.plan import Plan, engine_threads, make_plan
from eft_demo.models.protocol import Elsewhere, LanguageModel
from eft_demo.models.quantise import NONE
from eft_demo.settings import Settings


@dataclass(frozen=True, slots=True)
class Opened:
    """A family ready for an engine. `settings` are those given, reduced to what the plan has room for."""

    family: Family
    models: Mapping[str, LanguageModel]
    plan: Plan
    settings: Settings

    @property
    def chips(self) -> tuple[str, ...]:
        """Short facts for a status line."""
        large = self.plan.of(LARGE_BASE)
        facts = [self.family.title, large.reason]
        if large.quantisation != NONE:
            facts.append(f"{large.quantisation.upper()} large models")
        if self.plan.warning:
            facts.append(self.plan.warning)
        return tuple(facts)


def open_family(
    family: str | Entry, settings: Settings, roles: Iterable[str] | None = None, watcher: Watcher = QUIET
) -> Opened:
    """Open a family by its name or entry and load its models.

    Raises FamilyError if files are missing, damaged or do not fit together, RemoteError if a server cannot be
    used, OutOfMemory if it needs too much memory, and Cancelled if the watcher cancels. In all these cases
    only finished downloads remain.
    """
    entry = find_entry(family, settings) if isinstance(family, str) else family
    try:
        return _open(entry, settings, roles, watcher)
    except (RuntimeError, MemoryError) as error:  # memory can run out in any of these steps
        if not is_out_of_memory(error):
            raise
    free_unused()
    raise out_of_memory(entry.title, "be loaded")


def _open(entry: Entry, settings: Settings, roles: Iterable[str] | None, watcher: Watcher) -> Opened:
    wanted = chosen_roles(entry, roles)
    for role in wanted:
        if entry.roles[role].is_gguf:
            check_installed(role)
    make_plan(entry, settings, wanted).check()  # before downloading anything
    folders = {role: fetch(entry, role, watcher) for role in wanted}
    plan = make_plan(entry, settings, wanted, folders)
    plan.check()
    watcher.report("check", entry.name)
    loaded = load_family(entry, settings, folders)
    models = load_models(loaded, plan.of(LARGE_BASE).dtype, plan=plan, watcher=watcher, settings=settings)
    return Opened(loaded, models, _with_servers(plan, models), _fitted(entry, settings, plan))


def _with_servers(plan: Plan, models: Mapping[str, LanguageModel]) -> Plan:
    """The plan with what the servers said when they were connected."""
    places = []
    for place in plan.placements:
        model = models[place.role]
        places.append(replace(place, reason=model.where) if isinstance(model, Elsewhere) else place)
    return replace(plan, placements=tuple(places))


def fetch(entry: Entry, role: str, watcher: Watcher = QUIET) -> Path:
    """A role's folder or GGUF file, downloaded if needed. Raises FamilyError or Cancelled."""
    given = entry.roles[role]
    if given.server is not None:
        return NO_FILES
    is_adapter = given.adapter_of is not None
    return given.path or download(str(given.repo), given.revision, watcher, is_adapter, given.gguf)


def _fitted(entry: Entry, settings: Settings, plan: Plan) -> Settings:
    rows, threads = min(settings.max_sequences, plan.rows), engine_threads(entry, settings)
    return replace(settings, max_sequences=rows, threads=threads)
