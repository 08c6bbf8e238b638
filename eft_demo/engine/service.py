"""The interface for front ends: takes a run's spec with its prompt as text, checks it and starts the run.

Knows family and engine; knows no page and no command line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eft_demo.engine.decode import PATIENCE_S
from eft_demo.engine.engine import Engine
from eft_demo.engine.probe import Probe
from eft_demo.engine.run import Prompts, Run, RunRequest, WhatIf
from eft_demo.engine.thread import STOPPING, EngineThread
from eft_demo.engine.zerogpu import GpuDecorator, ZeroGpuEngine
from eft_demo.errors import EFTError
from eft_demo.families.catalogue import Entry
from eft_demo.families.family import Family, encode_prompt, no_family
from eft_demo.families.hub import QUIET, Watcher
from eft_demo.models.load import group_models
from eft_demo.models.memory import CPU, REMOTE, freeze_loaded_objects
from eft_demo.models.open import open_family
from eft_demo.models.plan import Plan
from eft_demo.runs.conversation import fits, seen_by
from eft_demo.runs.spec import RunSpec, check
from eft_demo.settings import Settings

HANG_S = 300.0  # ten times the slowest step: a large model reading one prompt chunk on a CPU


@dataclass(frozen=True, slots=True)
class Service:
    """A family, the engine that runs it and the settings of both."""

    family: Family
    engine: Engine
    settings: Settings
    chips: tuple[str, ...] = ()  # short facts about how the models run, for a status line
    plan: Plan | None = None  # where each model is and how much memory it needs
    thread: EngineThread = field(init=False)
    probe: Probe = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "thread", EngineThread(self.engine))
        object.__setattr__(self, "probe", Probe(self.engine, self.start_run))

    @classmethod
    def load(
        cls,
        settings: Settings,
        family: str | Entry = "atlas",
        roles: Iterable[str] | None = None,
        watcher: Watcher = QUIET,
        allocate_gpu: GpuDecorator | None = None,
    ) -> "Service":
        """Load a family and its models and start an engine. Raises FamilyError, RemoteError, OutOfMemory or
        Cancelled.

        `allocate_gpu` is the host's decorator if the GPU is allocated to one run at a time.
        """
        opened = open_family(family, settings, roles, watcher)
        loaded = opened.family
        parts = (
            opened.models,
            loaded.stop_ids,
            opened.settings,
            loaded.token_bytes,
            loaded.banned_ids,
            group_models(opened.models),
            PATIENCE_S,
        )
        on_gpu = any(place.device not in (CPU, REMOTE) for place in opened.plan.placements)
        engine = (
            Engine(*parts)
            if allocate_gpu is None
            else ZeroGpuEngine(*parts, allocate_gpu=allocate_gpu, needs_device=on_gpu)
        )
        service = cls(loaded, engine, opened.settings, opened.chips, opened.plan)
        freeze_loaded_objects()
        service.start()
        return service

    @classmethod
    def without_models(cls, settings: Settings) -> "Service":
        """A started service without models, enough for recorded runs. It rejects every new run."""
        family = no_family()
        service = cls(family, Engine({}, (), settings, ()), settings, (family.title,))
        service.start()
        return service

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs."""
        return self.thread.alive

    @property
    def dead(self) -> bool:
        """Whether the engine's thread has ended without being stopped."""
        return self.thread.dead

    @property
    def hangs(self) -> bool:
        """Whether the engine has work but has not finished a step for too long."""
        return self.engine.stalled_s > max(HANG_S, 2 * self.settings.deadline_s)

    def start(self) -> None:
        """Start the engine's thread. `load` does this already."""
        self.thread.start()

    def stop(self, message: str = STOPPING) -> None:
        """End all runs with this message and stop the engine's thread."""
        self.thread.stop(message)

    def start_run(
        self,
        spec: RunSpec,
        forced: Sequence[int] = (),
        owner: str = "",
        pace: float = 0.0,
        session: str = "",
        what_if: WhatIf = (),
    ) -> Run:
        """Check a spec and submit the run. Raises InputError or Overloaded, with a message for the user.

        `forced` are the first tokens of every answer; the run counts towards the share of `owner`,
        and reuses only what has been read for its `session`.
        `pace` is how many tokens a second a person wants to see; 0 is full speed. `what_if` is as in
        RunRequest.
        """
        try:
            return self.engine.submit(self._request(spec, forced, owner, pace, session, what_if))
        except EFTError as refusal:
            self.engine.counts.refuse(refusal.code)
            raise

    def _request(
        self, spec: RunSpec, forced: Sequence[int], owner: str, pace: float, session: str, what_if: WhatIf
    ) -> RunRequest:
        checked = check(spec, self.family, self.settings).for_behaviour()
        own = () if fits(checked.turns, 1) else range(len(checked.columns))
        column_prompts = tuple(self._prompts(checked, column) for column in own)
        prompts = column_prompts[0] if column_prompts else self._prompts(checked, 0)
        return RunRequest(checked, prompts, tuple(forced), owner, column_prompts, pace, session, what_if)

    def _prompts(self, spec: RunSpec, column: int) -> Prompts:
        """The prompt of a column for every model of the run, as any of them may draft for it."""
        roles = dict.fromkeys(role for _, recipe in spec.columns for role in recipe.roles)
        turns = seen_by(spec.turns, column)
        return {
            role: tuple(
                encode_prompt(self.family, role, spec.prompt, spec.formats.get(role), turns, spec.system)
            )
            for role in roles
        }


def ignores_system(family: Family, spec: RunSpec) -> bool:
    """Whether the run has a system prompt that reaches none of its models.

    It reaches those with a chat template, except where the family gives them a system prompt of its own.
    """
    roles = {role for _, recipe in spec.columns for role in recipe.roles}
    formats = [spec.formats.get(role, family.prompts[role]) for role in roles]
    return bool(spec.system) and not any(one.kind == "chat" and not one.text for one in formats)
