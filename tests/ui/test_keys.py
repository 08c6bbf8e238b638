"""Every handler of a key goes through the one that leaves input methods and the browser's shortcuts alone."""

import re
from collections import Counter
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
    assert sorted([*SCRIPTS, "early.js"]) == [path.name for path in PAGES if path.parent.name == "ui"]
    assert SCRIPTS[:2] == ("key.js", "keys.js")


def test_no_two_scripts_of_the_page_declare_the_same_name() -> None:
    """They run as one: a second `const` stops them all, a second function replaces the first unseen."""
    declared = re.compile(r"^(?:const|let|class|(?:async )?function\*?) +(\w+)", re.MULTILINE)
    scripts = [(ASSETS / "ui" / script).read_text(encoding="utf-8") for script in SCRIPTS]
    names = [name for script in scripts for name in declared.findall(script)]
    assert len(names) > 100 and [name for name, count in Counter(names).items() if count > 1] == []
