"""Every handler of a key goes through the one that leaves input methods and the browser's shortcuts alone."""

import re
from pathlib import Path

import pytest

from eft_demo.settings import ASSETS
from eft_demo.ui.page import SCRIPTS

PAGES = sorted([*(ASSETS / "ui").glob("*.js"), *(ASSETS / "export").glob("*.js")])
# addEventListener("keydown", ...), a list of types with one of them in it, onkeydown = ...
LISTENING = re.compile(r"""["'`]key(?:down|up|press)["'`]|\bonkey(?:down|up|press)\b""")


@pytest.mark.parametrize("script", PAGES, ids=lambda path: path.name)
def test_no_script_but_keys_listens_to_keys(script: Path) -> None:
    found = LISTENING.findall(script.read_text(encoding="utf-8"))
    assert bool(found) is (script.name == "keys.js"), f"{script.name}: use onKeys, not {found}"


def test_no_script_reads_the_name_of_a_key_itself() -> None:
    for script in PAGES:
        if script.name != "keys.js":
            assert "event.key" not in script.read_text(encoding="utf-8"), script.name


def test_every_script_of_the_page_is_loaded_once() -> None:
    assert sorted(SCRIPTS) == [path.name for path in PAGES if path.parent.name == "ui"]
    assert SCRIPTS[0] == "keys.js"
