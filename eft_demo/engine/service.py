"""What a front end talks to: a prompt as text in, a run out; everything that comes in is checked here.

Knows family and engine; knows no page and no command line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from eft_demo.engine.decode import PATIENCE_S
from eft_demo.engine.engine import Engine
from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.thread import STOPPING, EngineThread
from eft_demo.engine.zerogpu import Lend, LentEngine
from eft_demo.errors import InputError
from eft_demo.families.catalogue import Entry
from eft_demo.families.family import Family, encode_prompt, no_family
from eft_demo.families.hub import QUIET, Watcher
from eft_demo.method.recipe import BASE, TUNED, UPSCALED, Recipe, Term
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import CONSTANT, Schedule
from eft_demo.method.speculation import Speculation
from eft_demo.method.weight_filter import OFF, WeightFilter
from eft_demo.models.load import group_models
from eft_demo.models.memory import CPU, settle
from eft_demo.models.open import open_family
from eft_demo.models.plan import Plan
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.trace import MAX_PANELS
from eft_demo.settings import ALPHA, SEED, TEMPERATURE, TOP_K, TOP_P, Settings, check_number, show_value

AUTO = Speculation()
HANG_S = 300.0  # one step of a large model on a CPU, a chunk of a prompt, takes a tenth of it
NO_MODEL = "No model is loaded here, so nothing can be asked. The recorded runs can be played."
Panels = tuple[tuple[str, Recipe], ...]
THREE_PANELS: Panels = (("Base", BASE), ("Tuned", TUNED), ("Up-scaled", UPSCALED))
# The page's first columns. Tuned is written as the small base plus what tuning did to it: the same model to
# float tolerance, for one small row more, and its tokens can be coloured like the up-scaled ones.
TUNED_SHOWN = Recipe("small_base", (Term(1.0, "small_tuned", "small_base"),))
FIRST: Panels = (("Base", BASE), ("Tuned", TUNED_SHOWN), ("Up-scaled", UPSCALED))


def default_panels(behaviour: str) -> Panels:
    """The three panels of the page, with `small_tuned` played by `behaviour`."""
    return tuple((name, recipe.with_roles({"small_tuned": behaviour})) for name, recipe in THREE_PANELS)


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

        `lend` is a lender's decorator, where the GPU is lent for a run at a time.
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

    def start_run(
        self,
        prompt: object,
        behaviour: object,
        *,
        panels: Panels | None = None,
        controls: Mapping[str, float] | None = None,
        temperature: float = TEMPERATURE.default,
        top_p: float = TOP_P.default,
        top_k: int = int(TOP_K.default),
        min_p: float = 0.0,
        seed: int = int(SEED.default),
        max_new_tokens: int | None = None,
        weight_filter: WeightFilter = OFF,
        schedule: Schedule = CONSTANT,
        speculation: Speculation = AUTO,
        forced: Sequence[int] = (),
        formats: Mapping[str, PromptFormat] | None = None,
        owner: str = "",
    ) -> Run:
        """Check everything and submit. Raises InputError or Overloaded, sentences for the person asking.

        `formats` says, by role, what a model is shown around the prompt where it is not the family's way;
        `owner` whose share of rows and places it takes.
        """
        text = self.check_prompt(prompt)
        tuned = self.check_behaviour(behaviour)
        chosen = default_panels(tuned) if panels is None else panels
        if len(chosen) > MAX_PANELS:
            raise InputError(f"A run may have {MAX_PANELS} columns at most; this one has {len(chosen)}.")
        resolved = tuple((name, recipe.with_roles({"small_tuned": tuned})) for name, recipe in chosen)
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p, seed=seed)
        limit, default = self.settings.max_new_tokens, self.settings.default_new_tokens
        length = default if max_new_tokens is None else max_new_tokens
        return self.engine.submit(
            RunRequest(
                prompts=self._prompts(resolved, text, formats or {}),
                panels=resolved,
                controls={"alpha": ALPHA.default} if controls is None else dict(controls),
                sampling=sampling,
                max_new_tokens=int(check_number("Length", length, 1, limit, integer=True)),
                forced=tuple(forced),
                weight_filter=weight_filter,
                schedule=schedule,
                speculation=speculation,
                formats=formats or {},
                owner=owner,
            )
        )

    def check_prompt(self, prompt: object) -> str:
        """The prompt, if it is one. Raises InputError."""
        limit = self.settings.max_prompt_chars
        if not isinstance(prompt, str):
            raise InputError(f"The prompt must be text; got {show_value(prompt)}. Please type a question.")
        if not prompt.strip():
            raise InputError("The prompt is empty. Please type a question, or choose one of the examples.")
        if len(prompt) > limit:
            raise InputError(
                f"The prompt has {len(prompt):,} characters; the limit is {limit:,}. Please shorten it."
            )
        return prompt

    def check_behaviour(self, behaviour: object) -> str:
        """The behaviour's role, if the family has it. Raises InputError."""
        known = [b.role for b in self.family.behaviours]
        if not known:
            raise InputError(NO_MODEL)
        if behaviour not in known:
            raise InputError(
                f"There is no behaviour {show_value(behaviour)}. Choose one of {', '.join(known)}."
            )
        return str(behaviour)

    def _prompts(
        self, panels: Panels, text: str, formats: Mapping[str, PromptFormat]
    ) -> dict[str, tuple[int, ...]]:
        roles = dict.fromkeys(role for _, recipe in panels for role in recipe.roles)
        unknown = [role for role in roles if role not in self.family.roles]
        if unknown:
            raise InputError(
                f"The family {self.family.title} has no model {unknown[0]}. "
                f"It has {', '.join(self.family.roles)}."
            )
        return {role: tuple(encode_prompt(self.family, role, text, formats.get(role))) for role in roles}
