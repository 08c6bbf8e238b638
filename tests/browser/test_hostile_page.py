"""Fifty hostile texts in every place of the page that shows text: all are inert and shown verbatim."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from eft_demo.figures.contributions import tick_label
from eft_demo.method.recipe import BASE, UPSCALED
from eft_demo.method.sampling import Sampling
from eft_demo.runs.replay import MAX_NAME_CHARS
from eft_demo.runs.text import token_label
from eft_demo.runs.trace import ColumnTrace, RunTrace
from eft_demo.settings import Settings
from eft_demo.ui import handlers
from eft_demo.ui.run_store import RunStore
from tests.asking import make_run
from tests.fakes import make_service
from tests.hostile import HOSTILE
from tests.records import make_record
from tests.saying import storable
from tests.scripted import Script
from tests.site import BROWSER_MARKS, Site, run, serving, texts, wait_end
from tests.tiers import exhaustive, first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
COLUMNS = 13
BATCHES = [HOSTILE[i : i + COLUMNS] for i in range(0, len(HOSTILE), COLUMNS)]
PIECE_CHARS = 1000  # a file with longer ones would be refused
JS_SPACES = re.compile(r"[\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+")
# Elements that none of the page's scripts creates, except in plotly's drawings.
MADE_OF_TEXT = (
    "script, img, iframe, object, embed, base, meta, math, style, a[href^=javascript], [onload], [onerror]"
)


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings()), browser) as site:
        yield site


def hostile_run(batch: Sequence[str]) -> RunTrace:
    """A column named after each text that writes that text and the next two; its candidates are others."""
    cut = [
        [text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS)] for text in map(storable, batch)
    ]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(sum(cut, [])), 1)}
    columns = []
    for place, name in enumerate(batch):
        written = sum((cut[place:] + cut)[:3], [])
        said, whole = [ids[piece] for piece in written], "".join(written)
        records = []
        for position, chosen in enumerate(said):
            rivals = [(chosen + step) % len(ids) + 1 for step in range(4)]
            chances = {
                token: dict.fromkeys(UPSCALED.roles, -1.0 - i) for i, token in enumerate({chosen, *rivals})
            }
            records.append(make_record(UPSCALED, chosen, chances, position=position))
        columns.append(
            ColumnTrace(name[:MAX_NAME_CHARS], str(UPSCALED), records, whole, "error", name, 0.1, 30.0)
        )
    pieces = {str(number): piece for piece, number in ids.items()}
    return make_run(
        columns,
        pieces,
        family="atlas",
        prompt="\n".join(batch),
        sampling=Sampling(seed=3),
        controls={"alpha": 1.0},
    )


def open_at_once(page: Any, trace: RunTrace, name: str) -> None:
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = 'instant'; }")
    page.eval_on_selector("[data-part=replay-play]", "button => { button.textContent = ''; }")
    page.click("[data-part=open]")
    page.set_input_files(
        "[data-part=file]",
        {"name": name, "mimeType": "application/json", "buffer": trace.to_json().encode("ascii")},
    )
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Replay'")


def contents(page: Any, selector: str) -> list[str]:
    found: list[str] = page.eval_on_selector_all(selector, "all => all.map(node => node.textContent)")
    return [storable(text) for text in found]


def made_of_text(page: Any) -> int:
    count: int = page.evaluate(
        "selector => [...document.querySelectorAll('.eft ' + selector.split(', ').join(', .eft '))].length",
        MADE_OF_TEXT,
    )
    return count


@pytest.mark.parametrize("batch", first_of(*((batch,) for batch in BATCHES)), ids=range(len(BATCHES)))
def test_an_opened_run_shows_every_hostile_text_verbatim(site: Site, batch: Sequence[str]) -> None:
    page = site.open()
    shown = [storable(text) for text in batch]
    open_at_once(page, hostile_run(batch), batch[0][:200])
    assert contents(page, "[data-part=replay-title]") == [shown[0][:200]]
    assert contents(page, "[data-part=replay-prompt]") == ["\n".join(shown)]
    names = [text[:MAX_NAME_CHARS] for text in shown]
    assert contents(page, ".pane h2") == contents(page, "[data-part=plotted] option") == names
    assert contents(page, ".pane .sentence") == shown  # each column ends with an error that contains its name
    assert contents(page, ".pane .text") == ["".join((shown[p:] + shown)[:3]) for p in range(len(batch))]
    page.select_option("[data-part=colour]", "flip")
    page.check("[data-part=numbers]")
    for place, text in enumerate(shown):
        page.locator(".pane .text").nth(place).locator(".t").first.dispatch_event("click")
        label = token_label(text[:PIECE_CHARS].encode())
        assert f"“{label}”" in contents(page, "[data-part=card-title]")[0]
        assert any(label in row for row in contents(page, "[data-part=card-table] tbody tr"))
        assert label in page.locator(".t[aria-pressed=true]").get_attribute("aria-label")
    page.click("[data-part=compare] summary")
    page.wait_for_selector("[data-part=diff] ins")
    assert "".join(contents(page, "[data-part=diff] > :not(del)")) == texts(page)[-1]
    page.check("[data-part=differing]")
    page.wait_for_selector(".plot .barlayer .point")
    assert page.locator(".plot a").count() == 0  # plotly would turn text into links
    assert made_of_text(page) == 0


def one_token_each(batch: Sequence[str]) -> RunTrace:
    """Two columns with hostile names and the same tokens, one per text; alpha 0 would choose others."""
    pieces = {str(number): storable(text)[:PIECE_CHARS] for number, text in enumerate(batch, 1)}
    chances = {"large_base": (-3.0, -0.1), "small_base": (-3.0, -0.1), "small_tuned": (-0.1, -3.0)}
    columns = []
    for name, recipe in ((batch[0], BASE), (batch[1], UPSCALED)):
        records = []
        for position in range(len(batch)):
            pair = position + 1, (position + 1) % len(batch) + 1
            by_token = {
                token: {role: chances[role][k] for role in recipe.roles} for k, token in enumerate(pair)
            }
            records.append(make_record(recipe, pair[0], by_token, position=position))
        columns.append(ColumnTrace(name, str(recipe), records, "".join(pieces.values()), "stop"))
    greedy = Sampling(temperature=0.0)
    return make_run(
        columns, pieces, family="atlas", prompt=batch[0], sampling=greedy, controls={"alpha": 1.0}
    )


@exhaustive
def test_plots_images_and_tooltips_show_every_hostile_text_verbatim(site: Site) -> None:
    page = site.open(1600)
    for batch in BATCHES:
        trace = one_token_each(batch)
        open_at_once(page, trace, "run.json")
        labels = [token_label(piece.encode()) for piece in trace.pieces.values()]
        see_small_cards(page, labels)
        see_plots(page, {html.unescape(tick_label(label)) for label in labels})
        page.focus("#eft-alpha")
        page.keyboard.press("Home")
        page.wait_for_selector(".pane.up .t.parts")
        assert contents(page, "[data-part=as-if-text] b") == labels[:2]
        assert page.locator(".pane.up .t.parts").get_attribute("data-would") == labels[1]
        assert page.locator(".plot a").count() == 0 and made_of_text(page) == 0


def see_small_cards(page: Any, labels: Sequence[str]) -> None:
    for place, label in enumerate(labels):
        page.locator(".pane.up .t").nth(place).dispatch_event("pointerover", {"clientX": place + 1})
        page.wait_for_function(
            "n => document.querySelector('[data-part=peek]').textContent.includes('token ' + n + ' of')",
            arg=place + 1,
        )
        assert contents(page, "[data-part=peek] b")[0].startswith(f"“{label}”")
    page.locator(".pane.up .t").first.dispatch_event("pointerout")


def see_plots(page: Any, ticks: set[str]) -> None:
    for name in ("odds", "strip"):
        page.click(f"[data-part=tab-{name}]")
        page.wait_for_function(
            "([box, ticks]) => { const there = [...document.querySelectorAll(box)].map(t => t.textContent);"
            " return ticks.every(tick => there.includes(tick)); }",
            arg=[f"[data-part={name}-plot] .xtick text", sorted(ticks)],
        )
    with page.expect_download() as download:
        page.locator("[data-part=strip-plot] [data-title='Save as SVG']").press("Enter")
    drawn = list(ElementTree.fromstring(Path(download.value.path()).read_bytes()).iter())
    assert ticks <= {node.text for node in drawn}
    assert not {"script", "a", "foreignObject", "iframe"} & {node.tag.rpartition("}")[2] for node in drawn}


class Tree(Script):
    """A run and branches of it with the same texts."""

    def stream_run(self, service: object, live: object, posted: Mapping[str, Any]) -> Iterator[str]:
        origin = {"of": posted["run"], "given": 1, "copied": []} if posted.get("kind") else {}
        yield self.lines(posted["n"], f"run {posted['n']}", origin)


@exhaustive
def test_the_tree_shows_every_hostile_text_verbatim(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = ["".join(map(storable, HOSTILE[i : i + 5])).encode() for i in range(0, len(HOSTILE), 5)]
    tree = Tree([("Up-scaled", UPSCALED)], [b"", *pieces])
    chances = {token: dict.fromkeys(UPSCALED.roles, -2.0) for token in range(1, len(pieces) + 1)}
    tree.write(0, [make_record(UPSCALED, token, chances, position=token - 1) for token in chances])
    monkeypatch.setattr(handlers, "stream_run", lambda *args: tree.stream_run(*args[:3]))
    monkeypatch.setattr(RunStore, "holds", lambda self, name: True)  # the script has its runs
    page = site.open()
    run(page, "x")
    page.wait_for_function("n => document.querySelectorAll('.t').length === n", arg=len(pieces))
    wait_end(page)
    for place in range(len(pieces)):
        page.locator(".pane .t").nth(place).dispatch_event("click")
        page.keyboard.press("r")
        page.wait_for_function("n => document.querySelectorAll('.node').length === n + 2", arg=place)
        wait_end(page)
    assert contents(page, ".node b")[1:] == [f"“{token_label(piece)}”" for piece in pieces]
    behind = [JS_SPACES.sub(" ", b"".join(pieces[place + 1 :]).decode()).strip(" ") for place in range(10)]
    assert [text[:50] for text in contents(page, ".node .next")] == [text[:50] for text in behind]
    assert made_of_text(page) == 0


def test_a_hostile_prompt_is_echoed_linked_and_filled_in_verbatim(site: Site) -> None:
    page = site.open()
    prompt = "\n".join(text for text in HOSTILE if len(text) < 1000)
    page.eval_on_selector("#eft-prompt", "(box, text) => { box.value = text; }", prompt)
    typed = storable(page.input_value("#eft-prompt"))
    page.focus("#eft-prompt")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".t")
    wait_end(page)
    assert all(len(text) > 90 and typed.startswith(storable(text)) for text in texts(page))
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    link = page.input_value("[data-part=link]")
    page.goto(link)
    page.wait_for_function("document.querySelector('#eft-prompt')?.value.length > 1000")
    assert storable(page.input_value("#eft-prompt")) == typed
    assert made_of_text(page) == 0


def test_a_link_with_hostile_names_fills_in_and_runs(site: Site) -> None:
    names = [text for text in HOSTILE if len(text) <= 60 and storable(text) == text][:24:6]
    query = urlencode(
        [("v", "1"), ("prompt", "x"), ("family", "echo"), *(("column", f"{n}:large_base") for n in names)]
    )
    page = site.open(query=f"/?{query}")
    page.wait_for_function("n => document.querySelectorAll('.pane h2').length === n", arg=len(names))
    assert contents(page, ".pane h2") == names
    run(page, HOSTILE[0])
    page.wait_for_selector(".t")
    wait_end(page)
    assert contents(page, ".pane h2") == names and texts(page) == [HOSTILE[0]] * len(names)
    assert made_of_text(page) == 0


def test_errors_quote_hostile_recipes_verbatim(site: Site) -> None:
    page = site.open()
    page.click("[aria-controls=eft-columns]")
    for text in (*HOSTILE[:3], HOSTILE[29], HOSTILE[31], HOSTILE[33]):
        page.fill("#eft-recipe-0", text)
        page.wait_for_function(
            "start => document.querySelector('#eft-error-column-0 code')?.textContent.startsWith(start)",
            arg=text[:9],
        )
    assert made_of_text(page) == 0
