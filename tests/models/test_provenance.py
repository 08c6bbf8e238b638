"""Provenance of a run: read from plan and files, short in a link, and compared with this machine."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eft_demo import __version__
from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family
from eft_demo.models.plan import Placement, Plan
from eft_demo.models.provenance import made_with
from eft_demo.runs.made_with import MadeWith, ModelMade, differences, facts_from_text, facts_to_text

HERE = MadeWith(
    "0.1.0",
    "2.13.0",
    "5.23.0",
    {
        "large_base": ModelMade("bf16", "nf4", "cuda", "a/b", "c" * 40),
        "pirate": ModelMade("bf16", "none", "cuda"),
    },
)


def place(role: str, dtype: torch.dtype, quantisation: str = "none", device: str = "cpu") -> Placement:
    return Placement(role, "/a/folder", dtype, quantisation, device, 1, 1, 1, True, "")


def test_dtypes_devices_and_revisions_come_from_the_plan_and_the_files(tiny_family: Family) -> None:
    places = (
        place("large_base", torch.bfloat16, "nf4", "auto"),
        place("pirate", torch.float16, "none", "cuda:1"),
    )
    made = made_with(tiny_family, Plan(places, 4, {}, {}, {}), ["large_base", "pirate", "brief"])
    assert list(made.models) == ["large_base", "pirate"]
    large, pirate = made.models.values()
    assert (large.dtype, large.quantisation, large.device) == ("bf16", "nf4", "cuda")
    assert (pirate.dtype, pirate.number_format, pirate.device) == ("fp16", "fp16", "cuda")
    assert large.revision != pirate.revision and large.source == ""
    assert (made.eft_demo, made.torch) == (__version__, torch.__version__)
    assert "/" not in str(made), "no folder of this machine"
    assert made_with(tiny_family, None, ["large_base"]).models == {}


def test_revisions_differ_between_weights_and_agree_between_copies(
    tiny_family: Family, tmp_path: Path
) -> None:
    def revision(folder: Path) -> str:
        family = replace(tiny_family, roles={"pirate": Checkpoint("pirate", folder)})
        return (
            made_with(family, Plan((place("pirate", torch.float32),), 4, {}, {}, {}), ["pirate"])
            .models["pirate"]
            .revision
        )

    original = tiny_family.roles["pirate"].path
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    assert revision(copy) == revision(original) and len(revision(copy)) == 12
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-2048:] = bytes(2048)
    (copy / "model.safetensors").write_bytes(weights)
    assert revision(copy) != revision(original)
    (copy / "model.safetensors").unlink()
    assert revision(copy) == ""
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert revision(tmp_path / "models--a--b" / "snapshots" / commit) == commit


def test_a_link_keeps_the_provenance() -> None:
    assert HERE.facts[:5] == ("0.1.0", "2.13.0", "5.23.0", "bf16-nf4", "cuda")
    assert facts_from_text(facts_to_text(HERE.facts)) == HERE.facts
    assert HERE.facts[5] == ""  # the revision of one model is unknown
    known = replace(HERE, models={"large_base": HERE.models["large_base"]})
    other = replace(HERE, models={"large_base": replace(HERE.models["large_base"], revision="d" * 40)})
    assert len(known.facts[5]) == 8 and known.facts[5] != other.facts[5]
    assert known.facts[:5] != HERE.facts[:5]


@given(st.text(max_size=80) | st.lists(st.text("ab.+-~ <\n", max_size=50), max_size=8).map("~".join))
def test_any_short_text_parses_to_facts_or_none(text: str) -> None:
    facts = facts_from_text(text)
    assert facts is None or (facts_to_text(facts) == text and not set(text) & set("<>&\n "))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({0: "0.2.0"}, "EFT Demo 0.2.0; here it is EFT Demo 0.1.0"),
        ({3: "fp32", 4: "cpu"}, "fp32 weights, the device cpu; here it is bf16-nf4 weights, the device cuda"),
        ({3: ""}, ""),
        ({5: "12345678"}, ""),
    ],
)
def test_only_known_differences_are_named(change: dict[int, str], words: str) -> None:
    there = tuple(change.get(k, fact) for k, fact in enumerate(HERE.facts))
    sentence = differences("run", there, HERE.facts)
    assert words in sentence and bool(words) == bool(sentence)
    assert not sentence or sentence.endswith("so a new run may differ.")
