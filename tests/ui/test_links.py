"""Links: settings survive a round trip through the address, and no address does more than fill in fields."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.models.plan import Placement, Plan
from eft_demo.settings import Settings
from eft_demo.ui import links
from tests.fakes import ROLES
from tests.hostile import HOSTILE

ASKED: dict[str, Any] = {
    "prompt": "Who & what? 🙂",
    "behaviour": "brief",
    "columns": [{"name": "Mine", "recipe": "large_base + alpha*(brief - small_base)"}],
    "controls": {"alpha": 1.25},
    "temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1, "seed": 7, "length": 12,
    "schedule": "warmup 4", "filter": "top-p 0.9", "speculation": "on 4",
}  # fmt: skip


def link_to(service: Service, **changes: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(links.make_link(service, ASKED | changes))
    return answer


def read(service: Service, query: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(links.read_link(service, {"query": query}))
    return answer


def test_all_settings_survive_a_link(service: Service) -> None:
    query = link_to(service)["query"]
    answer = read(service, f"?{query}")
    assert answer["note"] == ""
    assert answer["settings"] == ASKED
    assert "query" in json.loads(links.make_link(service, answer["settings"]))


def test_columns_beyond_what_the_page_shows_are_left_out_and_counted(service: Service) -> None:
    columns = "&".join(f"column={name}:large_base" for name in "ABCDE")
    answer = read(service, f"?v=1&prompt=Hi&{columns}")
    assert [column["name"] for column in answer["settings"]["columns"]] == list("ABCD")
    assert "5 columns" in answer["note"]


def test_a_length_beyond_the_limit_here_is_left_out_and_named(service: Service) -> None:
    answer = read(service, "?v=1&prompt=Hi&length=9999")
    assert "length" not in answer["settings"] and "9,999" in answer["note"]


def test_a_column_without_a_name_is_named_by_its_recipe(service: Service) -> None:
    answer = read(service, "?v=1&prompt=Hi&column=:large_base")
    assert answer["settings"]["columns"] == [{"name": "large_base", "recipe": "large_base"}]


def test_hostile_prompts_come_back_as_they_are(service: Service) -> None:
    for text in HOSTILE:
        answer = link_to(service, prompt=text)
        if len(text) > service.settings.max_prompt_chars:
            assert "10,000" in answer["error"]
        else:
            assert read(service, answer["query"])["settings"]["prompt"] == text


@pytest.mark.parametrize(
    "change",
    [{"prompt": ""}, {"alpha": 1, "controls": {}}, {"seed": "x"}, {"columns": "x"}, {"length": 10**9}],
)
def test_settings_that_cannot_run_have_no_link(service: Service, change: dict[str, object]) -> None:
    assert list(link_to(service, **change)) == ["error"]


@pytest.mark.parametrize("query", ["", "?", "?__theme=dark", "?utm_source=x&prompt=hi", None, 5, ["v"]])
def test_an_address_that_is_not_a_link_changes_nothing(service: Service, query: object) -> None:
    assert read(service, query) == {}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?v=9&prompt=x", "version 1"),
        ("?v=2&format=brief:plain:nowhere", "{prompt}"),
        ("?v=1&prompt=x&prompt=y", "prompt 2 times"),
        ("?v=1&seed=-1", "Seed"),
        ("?v=1&seed=8>", "'8>'"),
        ("?v=1&temperature=nan", "Temperature"),
        ("?v=1&column=Base", "column"),
        ("?v=1&column=Base:large_base+%2B", "recipe"),
        ("?v=1&prompt=" + "x" * 4001, "4,000"),
        ("?v=1&alpha=99", "Alpha"),
        ("?v=%FF", "version 1 to 3"),
        ("?v=1&sed=7&" + "&".join(f"x{k}=1" for k in range(9)), "'sed'"),
        ("#v=1&" + "&".join(f"{n}=x" for n in ("seed", "alpha", "beta", "top_k", "min_p")), "And 2 more"),
    ],
    ids=lambda value: value[:24],
)
def test_an_invalid_value_is_named_and_the_rest_is_filled_in(
    service: Service, query: str, words: str
) -> None:
    answer = read(service, query + "&schedule=first+5&alpha_brief=2")
    assert words in answer["note"] and answer["note"].endswith("The rest is filled in.")
    assert len(answer["note"]) < 500
    assert (answer["settings"]["schedule"], answer["settings"]["controls"]["alpha_brief"]) == ("first 5", 2)


def test_a_link_that_is_too_long_fills_in_nothing(service: Service) -> None:
    answer = read(service, "?v=1&prompt=" + "%41" * 30_000)
    assert list(answer) == ["note"]
    assert "60,000" in answer["note"] and answer["note"].endswith(links.DAMAGED)


def test_a_long_link_says_that_some_programs_cut_it(service: Service) -> None:
    assert list(link_to(service)) == ["query"]
    long = link_to(service, prompt="ü" * 1400)
    assert f"{len(long['query']):,} characters" in long["note"] and "2,000" in long["note"]
    assert read(service, "#" + long["query"])["settings"]["prompt"] == "ü" * 1400


def placed(dtype: torch.dtype, quantisation: str = "none") -> Plan:
    """A plan with the models' number formats."""
    kinds = {role: quantisation if role == "large_base" else "none" for role in ROLES}
    places = (Placement(role, "", dtype, kinds[role], "cpu", 1, 1, 1, True, "") for role in ROLES)
    return Plan(tuple(places), 4, {}, {}, {})


def test_a_link_made_with_other_versions_names_the_differences(service: Service) -> None:
    here = replace(service, plan=placed(torch.float32))
    query = link_to(here)["query"]
    assert read(here, query)["note"] == ""
    there = replace(service, plan=placed(torch.bfloat16, "nf4"))
    note = read(there, query)["note"]
    assert note == (
        "This link was made with fp32 weights; here it is bf16-nf4 weights, so a new run may differ."
    )
    other = read(here, query.replace(torch.__version__.replace("+", "%2B"), "1.0.0"))
    assert "torch 1.0.0; here it is torch " + torch.__version__ in other["note"]
    assert other["settings"] == ASKED
    assert read(here, query.replace("family=echo", "family=qwen"))["note"].count("made with") == 0


def test_settings_that_need_other_models_are_left_out(service: Service) -> None:
    query = link_to(service)["query"]
    other = read(service, query.replace("family=echo", "family=qwen"))
    assert "'qwen'" in other["note"] and not {"behaviour", "columns"} & set(other["settings"])
    assert other["settings"]["prompt"] == ASKED["prompt"]
    # The second is not a valid role of any recipe.
    for name, shown in (("rude", "'rude'"), ("No+Role", "'No Role'")):
        unknown = read(service, query.replace("behaviour=brief", f"behaviour={name}"))
        assert shown in unknown["note"] and "behaviour" not in unknown["settings"]


def test_custom_prompt_formats_are_in_the_link_and_announced(service: Service) -> None:
    own = {"brief": {"kind": "plain", "text": "<b>${x}</b> & {prompt}:\n"}}
    query = link_to(service, formats=own)["query"]
    answer = read(service, query)
    assert answer["settings"] == ASKED | {"formats": own}
    assert "brief" in answer["note"] and "first chip" in answer["note"]
    for changed, words in (
        ("family=qwen", "'qwen'"),
        ("format=x%3Cy:chat:", "no model x<y in"),
        ("format=brief:chat:", "has no chat template"),
    ):
        name = changed.partition("=")[0]
        other = read(service, "&".join(p for p in query.split("&") if not p.startswith(name)) + "&" + changed)
        assert words in other["note"] and "formats" not in other["settings"]
        assert other["note"].endswith("The rest is filled in.")
        assert other["settings"]["prompt"] == ASKED["prompt"]


@given(st.text(max_size=60) | st.text(alphabet="v=1&%?panelrompt:+.", max_size=60).map("v=1&".__add__))
@settings(max_examples=400)
def test_any_address_gets_an_answer(service: Service, query: str) -> None:
    assert set(read(service, query)) <= {"settings", "view", "note"}
    assert json.loads(links.make_link(service, query)).keys() == {"error"}


def test_links_of_a_space_lead_to_its_public_page() -> None:
    assert links.address(Settings()) == ""
    there = Settings.from_env({"SPACE_ID": "some-one/eft.demo"})
    assert links.address(there) == "https://huggingface.co/spaces/some-one/eft.demo"
    with pytest.raises(InputError, match="owner/name"):
        Settings.from_env({"SPACE_ID": "evil.example/a?b=<c>"})
