"""EleutherAI's harness runs local tasks on recipes of a tiny family, and agrees with its own `hf` model.

Needs `pip install '.[lm-eval]'`. What the model computes is tested without the harness in test_harness.py.
"""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from eft_demo.errors import EFTError
from eft_demo.lab.harness import OWN

lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed: pip install '.[lm-eval]'")
instances, tasks, huggingface, ours = map(
    importlib.import_module,
    ("lm_eval.api.instance", "lm_eval.tasks", "lm_eval.models.huggingface", "eft_demo.lab.lm_eval_model"),
)

TASK = """
task: own_{kind}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: {kind}
doc_to_text: "User: {{{{question}}}}\\nAssistant:"
{more}
"""
TASKS = {
    "multiple_choice": "doc_to_choice: '{{choices}}'\ndoc_to_target: gold\nmetric_list: [{metric: acc}]",
    "generate_until": "doc_to_target: question\ngeneration_kwargs: {until: ['.'], max_gen_toks: 8}\n"
    "metric_list: [{metric: exact_match}]",
    "loglikelihood_rolling": "doc_to_target: '{{question}}'\nmetric_list: [{metric: word_perplexity}]",
}
DOCS = [
    {"question": "What is the capital of Peru?", "choices": ["Lima", "Tokyo"], "gold": 0},
    {"question": "What is the capital of Japan?", "choices": ["Lima", "Tokyo"], "gold": 1},
]


@pytest.fixture
def make_model(tiny_assets: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {"ASSETS": str(tiny_assets), "DTYPE": "fp32", "THREADS": "1"}.items():
        monkeypatch.setenv(f"EFT_{name}", value)
    made: list[Any] = []

    def make(**arguments: Any) -> Any:
        made.append(ours.RecipeModel(family="tiny", context=128, **arguments))
        return made[-1]

    yield make
    for model in made:
        model.close()


def request(kind: str, *arguments: Any) -> Any:
    return instances.Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


def test_local_tasks_run(make_model: Any, tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps(doc) + "\n" for doc in DOCS), encoding="utf-8")
    for kind, more in TASKS.items():
        text = TASK.format(kind=kind, path=path, more=more)
        (tmp_path / f"{kind}.yaml").write_text(text, encoding="utf-8")
    manager = tasks.TaskManager(include_path=str(tmp_path), include_defaults=False)
    names = [f"own_{kind}" for kind in TASKS]
    found = lm_eval.simple_evaluate(make_model(alpha=1), tasks=names, task_manager=manager)
    assert set(found["results"]) == set(names)
    assert found["results"]["own_loglikelihood_rolling"]["word_perplexity,none"] > 1
    for name in names:
        assert found["n-samples"][name]["effective"] == len(DOCS)


def test_it_agrees_with_the_harness_own_model(make_model: Any, tiny_assets: Path, tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tiny_assets / "tiny" / "tokenizer.json"))
    tokenizer.eos_token = tokenizer.pad_token = "<|endoftext|>"
    model = Qwen2ForCausalLM.from_pretrained(tiny_assets / "tiny" / "large_base")
    theirs = huggingface.HFLM(model, tokenizer=tokenizer)
    own = make_model(recipe="large_base")
    pairs = [
        ("User: Hi\nAssistant:", " Lima"),
        ("A capital ", "Peru"),
        ("", "The Rhine"),
        ("gold " * 20, "is"),
    ]
    asked = [request("loglikelihood", *pair) for pair in pairs]
    expected = theirs.loglikelihood(asked, disable_tqdm=True)
    for (mine, greedy), (other, also) in zip(own.loglikelihood(asked), expected, strict=True):
        assert mine == pytest.approx(other, abs=1e-3) and greedy is also
    texts = [request("loglikelihood_rolling", "The capital of Peru is Lima.")]
    assert own.loglikelihood_rolling(texts) == pytest.approx(
        theirs.loglikelihood_rolling(texts, disable_tqdm=True), abs=1e-3
    )
    written = [request("generate_until", "User: Hi\nAssistant:", {"until": ["\n"], "max_gen_toks": 9})]
    assert own.generate_until(written) == theirs.generate_until(written, disable_tqdm=True)


def test_each_model_may_read_its_own_format(make_model: Any) -> None:
    pair = [request("loglikelihood", "Hi", " Lima")]
    plain, own = make_model(recipe="large_base"), make_model(recipe="large_base", prompts=OWN)
    framed = [request("loglikelihood", "User: Hi\nAssistant:", " Lima")]
    assert own.loglikelihood(pair)[0][0] == pytest.approx(plain.loglikelihood(framed)[0][0], abs=1e-4)
    assert own.loglikelihood(pair)[0][0] != pytest.approx(plain.loglikelihood(pair)[0][0], abs=1e-2)


@pytest.mark.parametrize(
    "arguments", [{"prompts": "chat"}, {"gamma": 1}, {"recipe": "large_base +"}, {"alpha": 9}]
)
def test_wrong_arguments_are_refused(make_model: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(EFTError):
        make_model(**arguments)
