"""What an evaluation harness asks of a model, answered by a recipe: scores of texts, and texts.

All models read the same token ids, so that a task means the same for every recipe; or each reads its own
prompt format around the context, as on the page. Knows services and recipes, but no harness.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from eft_demo.engine.collect import WAIT_S, collect
from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.families.family import encode_prompt
from eft_demo.method.recipe import Recipe
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.spec import RunSpec, check
from eft_demo.settings import Settings

RUNS_AT_ONCE = 32
PLAIN, OWN = "plain", "family"  # how models read a context
PROMPTS = (PLAIN, OWN)
GREEDY = Sampling(temperature=0.0, top_p=1.0)
Pair = tuple[Sequence[int], Sequence[int]]  # token ids: of a context, and of what follows it
Prompts = Mapping[str, tuple[int, ...]]  # by role


@dataclass(frozen=True, slots=True)
class Asked:
    """A recipe of a loaded family with its sliders, as a model to evaluate."""

    service: Service
    spec: RunSpec  # checked, with one column

    @property
    def context(self) -> int:
        """Tokens that fit, context and continuation together."""
        return self.service.family.context

    @property
    def roles(self) -> tuple[str, ...]:
        """The models that the recipe runs."""
        return self.spec.columns[0][1].roles

    @property
    def prefix(self) -> int:
        """The token before a text that has no context: the family's first token, or a stop token."""
        family = self.service.family
        return min(family.stop_ids) if family.bos_id is None else family.bos_id


def harness_settings(settings: Settings, context: int) -> Settings:
    """Settings without the limits that a page needs: long texts, no patience, one candidate per token."""
    return replace(
        settings,
        max_new_tokens=context,
        default_new_tokens=context,
        candidates=1,
        deadline_s=86_400.0,
        pace=0.0,
    )


def asked(service: Service, recipe: Recipe, controls: Mapping[str, float], behaviour: str = "") -> Asked:
    """Check a recipe and its sliders. Raises InputError."""
    spec = RunSpec(
        prompt="-",  # the contexts come as tokens
        behaviour=behaviour,
        columns=(("text", recipe),),
        controls=controls,
        sampling=GREEDY,
        speculation=Speculation("off"),
    )
    return Asked(service, check(spec, service.family, service.settings).for_behaviour())


def encode(model: Asked, text: str) -> list[int]:
    """The token ids of a text, without the family's first token."""
    return list(model.service.family.codec.encode(text))


def alike(model: Asked, context: Sequence[int]) -> Prompts:
    """The same context for every model, after the family's first token if it has one."""
    family = model.service.family
    first = () if family.bos_id is None or context[:1] == [family.bos_id] else (family.bos_id,)
    ids = (*first, *context) or (model.prefix,)
    return dict.fromkeys(model.roles, tuple(ids))


def framed(model: Asked, context: str) -> Prompts:
    """The context as the prompt of every model, in its own format."""
    family = model.service.family
    return {role: tuple(encode_prompt(family, role, context)) for role in model.roles}


def score(model: Asked, pairs: Iterable[tuple[Prompts, Sequence[int]]]) -> list[tuple[float, bool]]:
    """(log-prob in nats, whether greedy decoding writes it) of each continuation after its prompts.

    Prompts that leave no room for the continuation lose their beginning. Raises EFTError.
    """
    todo = list(pairs)
    found: list[tuple[float, bool]] = []
    for start in range(0, len(todo), RUNS_AT_ONCE):
        runs = [
            _start(model, prompts, forced=tuple(ids), length=len(ids)) if ids else None
            for prompts, ids in todo[start : start + RUNS_AT_ONCE]
        ]
        found += [(0.0, True) if run is None else _total(run) for run in runs]
    return found


def _total(run: Run) -> tuple[float, bool]:
    (trace,) = collect(run)
    if trace.error or len(trace.tokens) != len(run.request.forced):
        raise EFTError(trace.error or "The engine stopped before the text was scored.")
    return sum(record.logprob for record in trace.tokens), all(record.rank == 1 for record in trace.tokens)


def write(
    model: Asked,
    contexts: Iterable[Prompts],
    length: int,
    until: Sequence[str] = (),
    sampling: Sampling = GREEDY,
) -> list[str]:
    """A text after each context, up to the first of the strings `until`, which it does not have itself.

    A context's place is added to the seed. Raises EFTError.
    """
    if length >= model.context:
        raise InputError(
            f"A text may have at most {model.context - 1:,} tokens here, since models read {model.context:,} "
            f"with the prompt; got {length:,}."
        )
    todo = list(enumerate(contexts))
    texts: list[str] = []
    for start in range(0, len(todo), RUNS_AT_ONCE):
        runs = [
            _start(model, prompts, length=length, sampling=replace(sampling, seed=sampling.seed + place))
            for place, prompts in todo[start : start + RUNS_AT_ONCE]
        ]
        try:
            texts += [_text(run, until) for run in runs]
        finally:
            for run in runs:
                run.cancel()
    return texts


def _text(run: Run, until: Sequence[str]) -> str:
    """What a run writes, up to the first of these strings; it is cancelled there."""
    text = ""
    for piece in _pieces(run):
        text += piece
        places = [place for stop in until if stop and (place := text.find(stop)) >= 0]
        if places:
            run.cancel()
            return text[: min(places)]
    return text


def _pieces(run: Run) -> Iterator[str]:
    while True:
        for event in run.events(WAIT_S):
            if isinstance(event, TokenEvent):
                yield event.text
            elif isinstance(event, EndEvent):
                if event.error:
                    raise EFTError(event.error)
                yield event.text
                return


def _start(
    model: Asked,
    prompts: Prompts,
    forced: tuple[int, ...] = (),
    length: int = 0,
    sampling: Sampling = GREEDY,
) -> Run:
    room = model.context - length
    if room < 1:
        raise InputError(f"A text of {length:,} tokens does not fit into a context of {model.context:,}.")
    spec = model.spec.model_copy(update={"length": length, "sampling": sampling})
    kept = {role: ids[-room:] for role, ids in prompts.items()}
    return model.service.engine.submit(RunRequest(spec, kept, forced))


def windows(ids: Sequence[int], prefix: int, context: int) -> Iterator[Pair]:
    """(context, continuation) pairs that score each token of a long text once, each after all that fits."""
    whole = (prefix, *ids)
    done = 0
    while done < len(ids):
        end = min(done + context - 1, len(ids))
        room = context - (end - done)
        yield whole[max(0, done + 1 - room) : done + 1], ids[done:end]
        done = end
