"""What the captions of the recorded runs claim is what the recordings show."""

import re

import pytest

from eft_demo.runs.gallery import GALLERY, GalleryEntry
from eft_demo.runs.replay import read_run
from eft_demo.settings import ASSETS


def shows(text: str, claim: str) -> bool:
    """Whether the text contains the pattern, or does not after a "!"."""
    found = re.search(claim.removeprefix("!"), text)
    return (found is None) if claim.startswith("!") else (found is not None)


@pytest.mark.parametrize("entry", GALLERY, ids=lambda entry: entry.name)
def test_a_recording_shows_what_its_caption_claims(entry: GalleryEntry) -> None:
    run = read_run(ASSETS / "runs" / f"{entry.name}.json")
    texts = {column.name: column.text for column in run.columns}
    assert entry.holds.keys() <= texts.keys() and entry.holds
    for name, claim in entry.holds.items():
        assert shows(texts[name], claim), (name, claim, texts[name])
