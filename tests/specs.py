"""Hypothesis strategies for specs of runs."""

from hypothesis import strategies as st

from eft_demo.method.recipe import BASE, UPSCALED, parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.speculation import parse_speculation
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.runs.conversation import Turn
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.spec import FIRST, RunSpec

texts = st.text(alphabet=st.characters(), max_size=40) | st.sampled_from(
    ["\ud800&=#", "a\0b", "<script>", "+ %"]
)
columns = st.lists(
    st.tuples(texts, st.sampled_from([BASE, UPSCALED, parse("a - 0.25*alpha_pirate*(b - c)")])), max_size=4
).map(tuple)
formats = st.dictionaries(
    texts.filter(lambda role: ":" not in role),
    st.builds(PromptFormat, st.just("plain"), texts.map(lambda text: text.replace("{", "") + "{prompt}"))
    | st.builds(PromptFormat, st.just("chat"), texts),
    max_size=3,
)


def _turns(spec: RunSpec) -> st.SearchStrategy[RunSpec]:
    """The same run after earlier turns, with one answer or one per column."""
    count = len(spec.columns or FIRST)
    answers = st.tuples(texts) | st.tuples(*[texts] * count)
    turns = st.lists(st.builds(Turn, texts, answers), max_size=2).map(tuple)
    return st.builds(lambda found: spec.model_copy(update={"turns": found}), turns)


_one_turn = st.builds(
    RunSpec,
    prompt=texts,
    family=texts,
    behaviour=texts,
    columns=columns,
    controls=st.dictionaries(st.sampled_from(["alpha", "beta", "alpha_pirate"]), st.floats(0, 3), max_size=3),
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0, 2),
        top_p=st.floats(0.01, 1),
        top_k=st.integers(0, 200),
        min_p=st.floats(0, 1),
        seed=st.integers(0, 2**32 - 1),
    ),
    weight_filter=st.sampled_from(["off", "top-p 0.95", "mask 0.1"]).map(parse_weight_filter),
    schedule=st.sampled_from(["constant", "warmup 8", "first 5", "list 0 0.5 1"]).map(parse_schedule),
    speculation=st.sampled_from(["off", "on", "on 4", "auto"]).map(parse_speculation),
    length=st.none() | st.integers(1, 1_000_000),
    formats=formats,
    system=texts,
)
specs = _one_turn.flatmap(_turns)
