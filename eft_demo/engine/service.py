"""What a front end talks to: a prompt as text in, a run out; everything that comes in is checked here.

Knows family and engine; knows no page and no command line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eft_demo.engine.decode import PATIENCE_S
from eft_demo.engine.engine import Engine
from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.thread import STOPPING, EngineThread
from eft_demo.engine.zerogpu import Lend, LentEngine
from eft_demo.families.catalogue import Entry
from eft_demo.families.family import Family, encode_prompt, no_family
from eft_demo.families.hub import QUIET, Watcher
from eft_demo.models.load import group_models
from eft_demo.models.memory import CPU, settle
from eft_demo.models.open import open_family
from eft_demo.models.plan import Plan
from eft_demo.runs.spec import RunSpec, check
from eft_demo.settings import Settings

HANG_S = 300.0  # one step of a large model on a CPU, a chunk of a prompt, takes a tenth of it


@dataclass(frozen=True, slots=True)
class Service:
    """A family, the engine that runs it and the settings both obey."""

    family: Family
    engine: Engine
    settings: Settings
    chips: tuple[str, ...] = ()  # short facts about how the models run, for a status line
    plan: Plan | None = None  # what stands where, and what it takes
    thread: EngineThread = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "thread", EngineThread(self.engine))

    @classmethod
    def load(
        cls,
        settings: Settings,
        family: str | Entry = "atlas",
        roles: Iterable[str] | None = None,
        watcher: Watcher = QUIET,
        lend: Lend | None = None,
    ) -> "Service":
        """Family, models, engine and its thread, started. Raises FamilyError, OutOfMemory or Cancelled.

        `lend` is a lender's decorator, where the GPU is allocated to a run at a time.
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
        on_gpu = any(place.device != CPU for place in opened.plan.placements)
        engine = Engine(*parts) if lend is None else LentEngine(*parts, lend=lend, needs_device=on_gpu)
        service = cls(loaded, engine, opened.settings, opened.chips, opened.plan)
        settle()
        service.start()
        return service

    @classmethod
    def without_models(cls, settings: Settings) -> "Service":
        """A service that refuses every run with a sentence, started: recorded runs need no more."""
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
        """Whether the engine's thread has ended although nobody stopped it."""
        return self.thread.dead

    @property
    def hangs(self) -> bool:
        """Whether the engine has work and has made no step for so long that none can be expected."""
        return self.engine.silent_s > max(HANG_S, 2 * self.settings.deadline_s)

    def start(self) -> None:
        """Start the engine's thread. `load` has done so already."""
        self.thread.start()

    def stop(self, sentence: str = STOPPING) -> None:
        """End all runs with that sentence, and the engine's thread."""
        self.thread.stop(sentence)

    def start_run(self, spec: RunSpec, forced: Sequence[int] = (), owner: str = "") -> Run:
        """Check everything and submit. Raises InputError or Overloaded, sentences for the person asking.

        `forced` are the first tokens of every answer; `owner` whose share of sequences and places it takes.
        """
        checked = check(spec, self.family, self.settings).played()
        roles = dict.fromkeys(role for _, recipe in checked.columns for role in recipe.roles)
        prompts = {
            role: tuple(encode_prompt(self.family, role, checked.prompt, checked.formats.get(role)))
            for role in roles
        }
        return self.engine.submit(RunRequest(checked, prompts, tuple(forced), owner))
