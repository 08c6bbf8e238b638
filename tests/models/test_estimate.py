"""Estimates before a download, and the family that suits a machine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from eft_demo.errors import FamilyError
from eft_demo.families.catalogue import list_entries, read_entry, readable_entries
from eft_demo.models.estimate import EFFICIENCY, ReadSpeed, choose_family, estimate, read_speed
from eft_demo.models.plan import make_plan
from eft_demo.settings import Settings

GB = 1_000_000_000
LARGE_TUNED = "{role: large_tuned, title: L, description: D.}"
BF16 = Settings(dtype="bf16", max_sequences=4)
ENTRIES = {entry.name: entry for entry in list_entries(Settings())}
LAPTOP = {"cpu": 14 * GB}


def gpu(free_gb: float) -> Mapping[str, int]:
    """A machine with one GPU that has this much free memory."""
    return {"cpu": 32 * GB, "cuda:0": int(free_gb * GB)}


def speeds(cpu: float, gpu: float = 0.0) -> ReadSpeed:
    """A machine that reads this many bytes per second."""
    return lambda device, threads: cpu if device == "cpu" else gpu


def test_the_speed_is_what_reading_the_weights_of_three_models_takes() -> None:
    entry = ENTRIES["smollm2"]
    found = estimate(entry, BF16, speeds(10 * GB), {"cpu": 64 * GB})
    read = 2 * (1_711_376_384 + 2 * 361_821_120)
    assert found.tokens_per_s == pytest.approx(EFFICIENCY * 10 * GB / read)
    assert found.plan == make_plan(entry, BF16, free={"cpu": 64 * GB})
    assert found.download_bytes == read  # nothing is here yet, and large_tuned is optional
    assert "4.9 GB to download" in str(found) and "tokens/s" in str(found)


def test_one_model_in_two_roles_is_downloaded_and_read_once() -> None:
    found = estimate(ENTRIES["smollm2-prompted"], BF16, speeds(10 * GB), {"cpu": 64 * GB})
    both = 2 * (1_711_376_384 + 361_821_120)
    assert found.download_bytes == both
    assert found.tokens_per_s == pytest.approx(EFFICIENCY * 10 * GB / both)


@pytest.mark.parametrize(
    ("free", "cpu_speed", "gpu_speed", "chosen"),
    [
        ({"cpu": GB}, 20 * GB, 0.0, "atlas"),
        (LAPTOP, GB, 0.0, "atlas"),  # too slow for anything larger
        (LAPTOP, 40 * GB, 0.0, "smollm2"),
        (gpu(15.4), 20 * GB, 300 * GB, "qwen3"),  # T4
        (gpu(23.5), 20 * GB, 300 * GB, "qwen3"),  # L4
        (gpu(47.0), 20 * GB, 860 * GB, "qwen2.5-32b"),  # L40S, A6000
        (gpu(80.0), 20 * GB, 2000 * GB, "qwen2.5-72b-4bit"),  # A100, H100
    ],
)
def test_the_largest_family_that_fits_and_is_fast_enough_is_chosen(
    free: Mapping[str, int], cpu_speed: float, gpu_speed: float, chosen: str
) -> None:
    name, reason = choose_family(ENTRIES.values(), BF16, speeds(cpu_speed, gpu_speed), free)
    assert name == chosen
    assert ("tokens/s" in reason) == (chosen != "atlas")


def test_a_family_without_sizes_cannot_be_estimated(tmp_path: Path) -> None:
    text = ENTRIES["smollm2"].file.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "shape:" not in line]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(FamilyError, match="large_base .* unknown"):
        estimate(read_entry(path), BF16, speeds(GB), {"cpu": 64 * GB})


def test_this_machine_reads_memory_at_a_plausible_speed() -> None:
    assert 1e8 < read_speed("cpu", 1) < 1e13


def test_families_that_cannot_be_estimated_or_read_are_not_chosen(tmp_path: Path) -> None:
    """One without sizes, one whose first behaviour is optional, one that is no YAML, and no bundled one."""
    text = ENTRIES["smollm2"].file.read_text(encoding="utf-8")
    files = {
        "unknown": "\n".join(line for line in text.splitlines() if "shape:" not in line),
        "optional": text.replace(
            "behaviours:", "behaviours:\n  - {role: large_tuned, title: L, description: D.}"
        ),
        "broken": "title: [",
    }
    (tmp_path / "families").mkdir()
    for name, content in files.items():
        (tmp_path / "families" / f"{name}.yaml").write_text(content, encoding="utf-8")
    entries = readable_entries(replace(BF16, assets=tmp_path))
    assert [entry.name for entry in entries] == ["optional", "unknown"]
    assert choose_family(entries, BF16, speeds(40 * GB), LAPTOP)[0] == "optional"
    assert choose_family(entries, BF16, speeds(1.0), LAPTOP)[0] == "atlas"
    assert "GB of memory" in str(estimate(entries[0], BF16, speeds(40 * GB), LAPTOP))
