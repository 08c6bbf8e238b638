"""A recipe as a model of EleutherAI's harness (`pip install lm_eval`), under the name `eft`.

    python -m eft_demo lm-eval run --model eft --tasks gsm8k \\
        --model_args "family=llama-2,recipe=large_base + alpha*(small_tuned - small_base),alpha=1"

Knows the harness's interface; scores and texts come from `lab.harness`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.families.catalogue import find_entry
from eft_demo.families.family import roles_for
from eft_demo.lab import harness
from eft_demo.method.recipe import UPSCALED, parse
from eft_demo.method.sampling import Sampling
from eft_demo.settings import CONTROLS, Settings, control_range, show_value

LENGTH = 256  # tokens of a text, unless the task says otherwise
MAX_CONTEXT = 4096  # tokens, of models that read more: their KV caches take memory
SAMPLED = ("temperature", "top_p", "top_k", "min_p", "seed")


@register_model("eft")
class RecipeModel(LM):  # type: ignore[misc]  # lm_eval may be missing
    """One recipe of one family. Its arguments are those of `generate`, and the sliders by their names."""

    def __init__(
        self,
        family: str = "atlas",
        recipe: str = str(UPSCALED),
        behaviour: str = "",
        prompts: str = harness.PLAIN,
        context: int = MAX_CONTEXT,
        batch_size: object = None,
        max_batch_size: object = None,
        device: object = None,
        **controls: float,
    ) -> None:
        """Load the models of the recipe. Raises EFTError.

        `prompts` is "plain" (all models read the context as it is) or "family" (each in its own format). The
        harness's batch sizes and device are ignored: the engine plans both.
        """
        super().__init__()
        if prompts not in harness.PROMPTS:
            raise InputError(f"prompts must be plain or family; got {show_value(prompts)}.")
        if unknown := [name for name in controls if control_range(name) is None]:
            known = ", ".join(CONTROLS)
            raise InputError(
                f"There is no argument {show_value(unknown[0])}. Sliders are {known}, alpha_ROLE."
            )
        asked, settings = parse(recipe), harness.harness_settings(Settings.from_env(), context)
        entry = find_entry(family, settings)
        self.service = Service.load(settings, entry, roles_for(entry, asked.roles))
        self.model = harness.asked(self.service, asked, controls, behaviour)
        self.prompts = prompts

    def close(self) -> None:
        """Stop the engine."""
        self.service.stop()

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log-prob, whether greedy decoding writes it) of each request's (context, continuation)."""
        return self._noted("loglikelihood", requests, harness.score(self.model, map(self._pair, requests)))

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-prob of each request's whole text."""
        found = []
        for request in requests:
            ids = harness.encode(self.model, request.args[0])
            pairs = harness.windows(ids, self.model.prefix, self.model.context)
            prompted = ((harness.alike(self.model, before), part) for before, part in pairs)
            found.append(sum(total for total, _ in harness.score(self.model, prompted)))
        return self._noted("loglikelihood_rolling", requests, found)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """A text for each request's (context, options), which may have `until` and sampling parameters."""
        found: dict[int, str] = {}
        groups: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[1].items())), []).append(place)
        for places in groups.values():
            options = requests[places[0]].args[1]
            contexts = [self._prompts(requests[place].args[0]) for place in places]
            until = options.get("until") or []
            texts = harness.write(
                self.model,
                contexts,
                min(int(options.get("max_gen_toks", LENGTH)), self.model.context // 2),
                [until] if isinstance(until, str) else until,
                _sampling(options),
            )
            found |= zip(places, texts, strict=True)
        return self._noted("generate_until", requests, [found[place] for place in range(len(requests))])

    def _noted(self, kind: str, requests: Sequence[Any], found: list[Any]) -> list[Any]:
        for request, answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial(kind, request.args, answer)
        return found

    def _pair(self, request: Any) -> tuple[harness.Prompts, Sequence[int]]:
        context, continuation = request.args
        if self.prompts == harness.OWN and context:
            return harness.framed(self.model, context), harness.encode(self.model, continuation)
        # Spaces between the two belong to the continuation's first token.
        kept = context.rstrip()
        before = harness.encode(self.model, kept)
        whole = harness.encode(self.model, context + continuation)
        return harness.alike(self.model, before), whole[len(before) :]

    def _prompts(self, context: str) -> harness.Prompts:
        if self.prompts == harness.OWN and context:
            return harness.framed(self.model, context)
        return harness.alike(self.model, harness.encode(self.model, context))


def _sampling(options: Mapping[str, Any]) -> Sampling:
    """Greedy unless the task samples."""
    if not options.get("do_sample", float(options.get("temperature") or 0) > 0):
        return harness.GREEDY
    return Sampling(**{name: options[name] for name in SAMPLED if options.get(name) is not None})
