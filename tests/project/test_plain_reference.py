"""The comparison with plain transformers, on tiny models: it finds equal texts equal, and faults."""

import json
from pathlib import Path

import pytest
import yaml

from scripts.plain_reference import PlainFamily, compare
from tests.checkpoints import make_real_family


@pytest.fixture
def family_file(tmp_path: Path) -> Path:
    path = make_real_family(tmp_path, "llama3")
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    entry["context"] = 96  # what its models can take
    entry["roles"]["pirate"] = {"same_as": "small_base", "prompt": "Arr! {prompt}\nArr:"}
    entry["behaviours"].append({"role": "pirate", "title": "Pirate", "description": "Arr."})
    for file in tmp_path.glob("*/tokenizer_config.json"):  # transformers wants names, also where we need not
        config = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**config, "eos_token": config["bos_token"]}), encoding="utf-8")
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    return path


def test_two_turns_of_every_column_are_compared_with_drafts_off_and_on(family_file: Path) -> None:
    count = compare(family_file, tokens=4, questions=1)
    assert count.equal == count.total == 2 * 3 * 2  # turns, columns, drafts


def test_another_text_is_reported_with_its_place(
    family_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = PlainFamily.prompt

    def wrong(self: PlainFamily, role: str, *more: object) -> list[int]:
        ids = right(self, role, *more)  # type: ignore[arg-type]
        return [*ids, ids[0]] if role == "pirate" else ids

    monkeypatch.setattr(PlainFamily, "prompt", wrong)
    count = compare(family_file, tokens=4, questions=1)
    assert count.equal < count.total
    out = capsys.readouterr().out
    assert "DIFFERENT" in out and "nats" in out and "pirate" in out
