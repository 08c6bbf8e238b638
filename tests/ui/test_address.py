"""The page's address: the link that the page writes reads back as the settings and what is shown."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.runs.link import MAX_PROMPT_CHARS, MAX_QUERY_CHARS, from_query
from eft_demo.ui import links
from tests.hostile import HOSTILE
from tests.javascript import Modules, find_node, modules
from tests.ui.test_links import ASKED

pytestmark = pytest.mark.skipif(find_node() is None, reason="this test needs Node.js")
WRITE = "({query, texts, view}) => withView(withTexts(query, texts), view)"


@pytest.fixture(scope="module")
def page() -> Iterator[Modules]:
    with modules("lib/address.js") as page:
        yield page


def test_the_address_reads_back_as_the_settings_and_what_is_shown(service: Service, page: Modules) -> None:
    made = json.loads(links.make_link(service, ASKED | {"prompt": page.evaluate("NO_PROMPT")}))["query"]
    sliders = {"column": 1, "all": False, "controls": {"alpha": 1.5}}
    branches = [{"place": 5, "token": 42, "seed": 7} | sliders]
    branches += [{"place": 9, "token": None, "seed": 8} | sliders]
    view = {"colour": "entropy", "shared": 1, "selected": [1, 14], "branches": branches}
    turns = [{"question": "Hi?", "answers": ["Ho, &c."]}]
    for text in ("", "Who & what? 🙂", "it's 'quoted' (here)", *HOSTILE):
        texts: dict[str, Any] = {"prompt": text[:MAX_PROMPT_CHARS], "system": "Be brief.", "turns": turns}
        query = page.evaluate(WRITE, {"query": made, "texts": texts, "view": view})
        answer = json.loads(links.read_link(service, {"query": "#" + query}))
        expected = ASKED | texts if text else {k: v for k, v in (ASKED | texts).items() if k != "prompt"}
        assert answer == {"settings": expected, "view": view, "note": ""}
        link = from_query(query)
        assert link is not None and from_query(link.to_query()) == link


def test_the_page_knows_the_limits_of_a_link(page: Modules) -> None:
    texts = "{prompt: 'x'.repeat(chars), system: 'x'.repeat(system)}"
    fits = f"([chars, system]) => withTexts('v=1&prompt=-', {texts}) !== null"
    assert page.evaluate(fits, [MAX_PROMPT_CHARS, 0]) and not page.evaluate(fits, [MAX_PROMPT_CHARS + 1, 0])
    rest = len("v=3&prompt=&system=")
    assert page.evaluate(fits, [0, MAX_QUERY_CHARS - rest])
    assert not page.evaluate(fits, [0, MAX_QUERY_CHARS - rest + 1])


@pytest.mark.parametrize(
    ("field", "words"),
    [("colour=12", "colour"), ("same=9", "Column"), ("selected=2", "2.14"), ("selected=0.1", "Column")],
)
def test_what_a_link_shows_is_checked(service: Service, field: str, words: str) -> None:
    answer = json.loads(links.read_link(service, {"query": f"#v=1&prompt=Hi&{field}&seed=3"}))
    assert answer["view"] == {} and answer["settings"]["seed"] == 3 and words in answer["note"]
