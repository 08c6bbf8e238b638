"""The card of a token and the plots around it, by keyboard: they show what was recorded, and nothing jumps.

The run is opened from a file and no model is loaded: none of this needs one.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from eft_demo.engine.service import Service
from eft_demo.method.recipe import BASE, UPSCALED, Recipe
from eft_demo.method.sampling import Sampling
from eft_demo.runs.trace import Candidate, ColumnTrace, Draft, TokenRecord
from eft_demo.settings import Settings
from tests.asking import make_run
from tests.records import make_record
from tests.site import BROWSER_MARKS, Site, serving, violations
from tests.tiers import exhaustive, first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
WORDS = ("Lima", " is", " the", " capital", " of", " Peru", " <b>", " Atahualpa", ".")  # ids from 1
COUNT = 40  # more tokens than a plot has room for
ANCHOR = (-0.2, -1.9, -3.0, -4.4)  # what the large base gives to the four candidates
SAMPLING = Sampling(seed=4)
BOXES = {"bars": "[data-part=plot]", "odds": "[data-part=odds-plot]", "strip": "[data-part=strip-plot]"}
TABS = pytest.mark.parametrize("name", BOXES)
MAINLY_BARS = pytest.mark.parametrize("name", first_of(*BOXES))
# What must not change between tokens: the page's height, and the position and height of each part.
PLACES = """() => [document.documentElement.scrollHeight, ...[
  '.card', '[data-part=card-table]', '.branching', '[data-part=card-said]', '.falls',
  '[data-part=card-besides]', '.attribution',
  ].map(part => {
    const node = document.querySelector(part), side = node.closest('[data-part=side]');
    const moves = !side || getComputedStyle(side).position !== 'fixed';  // not a phone's sheet
    const { top, height } = node.getBoundingClientRect();
    return [top + (moves ? scrollY : 0), height].map(Math.round).join();
  })].join(' ')"""
# Waits until the plot marks the token that the text marks.
MARKED = """box => {
  const place = Number(document.querySelector('.t[aria-pressed=true]').dataset.i);
  const marks = document.querySelector(box)._fullLayout?.shapes || [];
  return marks.some(mark => mark.type === 'rect' && mark.x0 === place - .5);
}"""
# The screen position of token 7 in a plot.
SEVENTH = """box => {
  box = document.querySelector(box);
  const at = box.getBoundingClientRect(), { xaxis, yaxis } = box._fullLayout;
  return [at.left + xaxis._offset + xaxis.d2p(6), at.top + yaxis._offset + yaxis._length / 2];
}"""
NARROWER = """([box, wide]) => {
  const [low, high] = document.querySelector(box)._fullLayout.xaxis.range;
  return high - low < wide;
}"""
NUMBERED = """all => all.map(token => [
  token.className.match(/grade-./)[0], getComputedStyle(token, '::after').content.split('"')[1],
])"""


def story(recipe: Recipe) -> list[TokenRecord]:
    """Words in turn. Tuning raises the second candidate, every other time to first place. Two drafts."""
    records = []
    for i in range(COUNT):
        pushes = (0.1, 1.2 if i % 2 else 1.9, -0.4, 0.0)
        by_token = {
            (i + place) % 9 + 1: {
                role: ANCHOR[place] + (push if role == "small_tuned" else 0) for role in recipe.roles
            }
            for place, push in enumerate(pushes)
        }
        records.append(make_record(recipe, i % 9 + 1, by_token, position=i))
    if recipe.terms:
        records[5] = replace(records[5], draft=Draft(records[5].id, 0.93))
        records[8] = replace(records[8], draft=Draft(records[7].id, 0.31))
    return records


BASES, MIXED = story(BASE), story(UPSCALED)


@pytest.fixture(scope="module")
def served(browser: Any) -> Iterator[Site]:
    with serving(Service.without_models(Settings()), browser) as served:
        yield served


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as a file: two columns with the same text."""
    columns = [
        ColumnTrace(
            name, str(recipe), records, "".join(WORDS[r.id - 1] for r in records), "stop", None, 0.1, 30.0
        )
        for name, recipe, records in (("Base", BASE, BASES), ("Up-scaled", UPSCALED, MIXED))
    ]
    pieces = {str(number): word for number, word in enumerate(WORDS, 1)}
    trace = make_run(
        columns, pieces, family="scripted", prompt="Tell me.", sampling=SAMPLING, controls={"alpha": 1.0}
    )
    path = tmp_path_factory.mktemp("runs") / "run.json"
    path.write_text(trace.to_json(), encoding="ascii")
    return path


def opened(served: Site, path: Path, width: int) -> Any:
    """The run, opened and replayed to its end."""
    page = served.open(width, height=1800)
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = 'instant'; }")
    page.set_input_files("[data-part=file]", path)
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Replay'")
    page.wait_for_selector(".plot .barlayer .point")
    return page


@pytest.fixture(scope="module")
def page(served: Site, path: Path) -> Iterator[Any]:
    """One page for all tests: each selects what it looks at."""
    yield opened(served, path, 1280)
    served.close_pages()


def focus_token(page: Any, index: int) -> None:
    page.locator(".pane.up .t").first.focus()
    for _ in range(index):
        page.keyboard.press("ArrowRight")


def said(page: Any, part: str) -> str:
    text: str = page.locator(f"[data-part={part}]").inner_text()
    return text.replace("\u00a0", " ")


def word(token: int) -> str:
    return WORDS[token - 1].strip()


def fall(page: Any, place: int) -> tuple[str, str, list[float]]:
    """A waterfall's token, its unit text, and its numbers, of which the last is the sum."""
    box = page.locator(".fall").nth(place)
    numbers = [
        text.replace("−", "-").replace("+", "") for text in box.locator("dd:last-child").all_inner_texts()
    ]
    return box.locator("h3 b").inner_text(), box.locator("h3 span").inner_text(), [float(n) for n in numbers]


def level_alpha(one: Candidate, other: Candidate) -> float:
    """The alpha at which the two are equally likely: lead and push cancel."""
    lead = one.by_role["large_base"] - other.by_role["large_base"]
    pushes = [c.by_role["small_tuned"] - c.by_role["small_base"] for c in (one, other)]
    return lead / (pushes[1] - pushes[0])


@exhaustive
def test_the_note_of_a_plot_and_the_offer_of_its_table_are_side_by_side(page: Any) -> None:
    page.click("[data-part=tab-strip]")
    page.wait_for_selector("[data-part=strip-note].hint:visible")
    page.wait_for_selector(".plot-table summary:visible")
    # The words, not their box, which also holds what lies over it.
    note = page.eval_on_selector(
        "[data-part=strip-note]",
        "note => { const range = document.createRange(); range.selectNodeContents(note); "
        "const { right, bottom } = range.getBoundingClientRect(); return { right, bottom }; }",
    )
    offer, box = (page.locator(place).bounding_box() for place in (".plot-table summary", ".attribution"))
    page.click("[data-part=tab-bars]")
    assert note["right"] <= offer["x"] and offer["x"] + offer["width"] <= box["x"] + box["width"]


@pytest.mark.parametrize("width", [1120, 1265])  # 1265: a window of 1280 with a scroll bar
def test_after_a_run_the_header_is_one_row_whatever_its_chips_say(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 720})
    page.eval_on_selector(
        ".family-chip",
        "chip => chip.after(Object.assign(document.createElement('span'), "
        "{className: 'chip', id: 'long', textContent: 'bf16, because this processor has AVX512_BF16'}))",
    )
    boxes = [page.locator(f".top {part}").bounding_box() for part in ("h1", ".equation", "#long", ".tools")]
    page.eval_on_selector("#long", "chip => chip.remove()")
    page.set_viewport_size({"width": 1280, "height": 1800})
    middles = [box["y"] + box["height"] / 2 for box in boxes]
    assert max(middles) - min(middles) < 8
    assert boxes[-1]["x"] + boxes[-1]["width"] <= width and boxes[2]["width"] > 20


def test_the_card_shows_the_recorded_numbers(page: Any) -> None:
    focus_token(page, 4)
    page.wait_for_selector("[data-part=peek]:not([hidden])")  # the small card beside the token
    record = MIXED[4]
    assert said(page, "card-title") == "“of” · token 5 of 40"
    chance = f"{math.exp(record.logprob):.2f}"[1:]
    facts = said(page, "card-note").split(" · ")
    assert facts[:2] == ["Up-scaled", f"probability {chance}"] and facts[2].startswith(
        "net effect of tuning "
    )
    assert said(page, "card-print").split(" · ") == ["rank 2", "entropy 0.50 nats", "α 1.00", "id 5"]
    heads = page.locator(".candidates thead th").all_inner_texts()
    assert heads == ["large base", "small tuned", "small base", "mix"]
    listed = page.locator(".candidates tbody tr[data-id]").all()
    for row, candidate in zip(listed, record.candidates, strict=True):
        values = [*(candidate.by_role[role] for role in UPSCALED.roles), candidate.logprob]
        widths = row.locator(".meter i").evaluate_all("bars => bars.map(bar => parseFloat(bar.style.width))")
        assert row.locator(".cand").inner_text() == word(candidate.id)
        assert widths == pytest.approx([100 * math.exp(value) for value in values], abs=0.06)
    left = 1 - sum(math.exp(candidate.logprob) for candidate in record.candidates)
    rest = page.locator(".candidates tr.rest .meter i").last.evaluate("bar => parseFloat(bar.style.width)")
    assert rest == pytest.approx(100 * max(left, 0), abs=0.1)
    assert page.locator(".candidates tfoot td").all_inner_texts() == ["1", "2", "1", "2"]
    assert said(page, "peek").startswith(
        f"“of” · token 5 of 40\n{100 * math.exp(record.logprob):.0f} % · rank 2"
    )
    assert page.locator(".peek-rows .pair").first.locator("i").count() == 2


def test_the_card_says_that_the_mix_at_another_alpha_is_estimated(page: Any) -> None:
    focus_token(page, 4)
    page.focus("#eft-alpha")
    page.keyboard.press("ArrowRight")  # beyond the recorded value
    page.wait_for_selector("[data-part=card-more]:has-text('what the others have here is unknown')")
    assert "probability about " in said(page, "card-note") and "entropy unknown" in said(page, "card-print")
    page.keyboard.press("Home")  # what the base alone gives is recorded
    page.wait_for_selector("[data-part=card-more]", state="hidden")
    assert "about" not in said(page, "card-note")
    page.press("[data-part=as-written]", "Enter")
    page.wait_for_selector("[data-part=card-print]:has-text('entropy 0.50')")


def test_waterfalls_add_up_also_for_a_chosen_rival(page: Any) -> None:
    focus_token(page, 3)
    record = MIXED[3]
    own = next(candidate for candidate in record.candidates if candidate.id == record.id)
    flips = {candidate.id: level_alpha(own, candidate) for candidate in record.candidates if candidate != own}
    of, _, steps = fall(page, 0)
    assert of == "capital"
    assert steps == pytest.approx(
        [own.by_role["large_base"], *record.bars, record.neg_log_z, own.logprob], abs=0.006
    )
    assert sum(steps[:-1]) == pytest.approx(steps[-1], abs=0.02)
    assert fall(page, 1)[:2] == ("of", f"tie at α {flips[5]:.2f}")
    assert f"of to capital only from α = {flips[5]:.2f}" in said(page, "card-verdict")
    page.keyboard.press("Enter")  # to its candidates
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    other = record.candidates[2]
    over, level, parts = fall(page, 1)
    assert over == word(other.id) == page.locator(".candidates tr.rival .cand").inner_text() == "Peru"
    assert "Peru" in said(page, "card-verdict")
    assert "of to capital only from" not in said(page, "card-verdict")
    assert flips[other.id] < 0 and level == "no α on the slider makes them tie"
    assert parts[-1] == pytest.approx(own.logprob - other.logprob, abs=0.006)  # the log-odds: no normaliser
    assert len(parts) == 3 and sum(parts[:-1]) == pytest.approx(parts[-1], abs=0.02)
    page.keyboard.press("Space")
    assert page.locator(".candidates tr.rival").count() == 0


def test_hovering_previews_a_token_and_leaving_ends_the_preview(page: Any) -> None:
    focus_token(page, 3)
    named = "words => document.querySelector('[data-part=card-title]').textContent.includes(words)"
    page.locator(".pane.up .t").nth(7).hover()
    page.wait_for_function(named, arg="token 8 of 40")
    assert "token 8 of 40" in said(page, "peek")
    page.mouse.move(0, 0)
    page.wait_for_function(named, arg="token 4 of 40")


def test_rank_bins_and_numbers_are_chosen_by_keys(page: Any) -> None:
    page.focus("[data-part=colour]")
    for name in ("probability", "rank"):
        page.keyboard.press("ArrowDown")
        assert page.input_value("[data-part=colour]") == name
    page.focus("[data-part=numbers]")
    page.keyboard.press("Space")
    seen = page.eval_on_selector_all(".pane.up .t", NUMBERED)
    ranks = [record.rank for record in MIXED]
    assert seen == [[f"grade-{int(rank > 1)}", f"#{rank}"] for rank in ranks] and set(ranks) == {1, 2}
    assert "2 to 10" in said(page, "legend")
    page.keyboard.press("Space")


# Tokens in the sentences whose full stop or comma may begin the next line.
LOOSE_STOPS = """() => [...document.querySelectorAll('.said b')].filter(({ nextSibling, parentElement }) =>
    /^[.,;]/.test(nextSibling?.textContent ?? '') &&
    getComputedStyle(parentElement).whiteSpace !== 'nowrap').length"""


def walk(page: Any) -> tuple[set[str], set[int]]:
    """All layouts seen while moving between tokens, and the number of different sentences."""
    focus_token(page, 0)
    places, sentences = set(), set()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        places.add(page.evaluate(PLACES))
        sentences.add(page.locator(".card .verdict:not([hidden]) .said").count())
    return places, sentences


@exhaustive
def test_the_layout_stays_while_keys_move_through_tokens(page: Any, served: Site, path: Path) -> None:
    for this in (page, opened(served, path, 360)):
        places, sentences = walk(this)
        assert len(places) == 1 and sentences == {1, 2}  # the sentences have several lengths
        assert this.locator(".said .held").count() > 0 and this.evaluate(LOOSE_STOPS) == 0
        assert this.evaluate("document.documentElement.scrollWidth <= innerWidth")


def open_tab(page: Any, name: str) -> None:
    """Opens a tab by the arrow keys and waits until its plot marks the selected token."""
    page.focus("[role=tab][aria-selected=true]")
    while page.evaluate("document.activeElement.dataset.part") != f"tab-{name}":
        page.keyboard.press("ArrowRight")
    page.wait_for_function(MARKED, arg=BOXES[name])


def view(page: Any, name: str) -> list[float]:
    found: list[float] = page.evaluate(
        "box => [...document.querySelector(box)._fullLayout.xaxis.range]", BOXES[name]
    )
    return found


@TABS
def test_the_plot_and_the_text_select_each_others_tokens(page: Any, name: str) -> None:
    focus_token(page, 4)
    open_tab(page, name)
    page.focus(BOXES[name])  # from the plot to the text
    page.keyboard.press("ArrowRight")
    assert page.locator(".pane.up .t[aria-pressed=true]").get_attribute("data-i") == "5"
    focus_token(page, 2)  # and from the text to the plot
    page.wait_for_function(MARKED, arg=BOXES[name])
    page.mouse.click(*page.evaluate(SEVENTH, BOXES[name]))
    page.wait_for_selector(".pane.up .t[aria-pressed=true][data-i='6']")
    page.wait_for_function(MARKED, arg=BOXES[name])


@exhaustive
@TABS
def test_the_zoom_of_a_plot_survives_other_actions(page: Any, name: str) -> None:
    focus_token(page, 4)
    open_tab(page, name)
    low, high = view(page, name)
    page.locator(f"{BOXES[name]} [data-title='Zoom in']").press("Enter")
    page.wait_for_function(NARROWER, arg=[BOXES[name], high - low - 1])
    zoomed = view(page, name)
    page.focus(".t[aria-pressed=true]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(MARKED, arg=BOXES[name])
    page.focus("#eft-alpha")
    page.keyboard.press("Home")  # every number has changed
    page.wait_for_selector(".t.would")
    page.keyboard.press("PageUp")
    page.locator("[data-part=theme]").press("Enter")  # and every colour
    ink = page.evaluate("getComputedStyle(document.querySelector('.eft')).getPropertyValue('--ink').trim()")
    page.wait_for_function(
        "([box, ink]) => document.querySelector(box)._fullLayout.font.color === ink", arg=[BOXES[name], ink]
    )
    assert view(page, name) == pytest.approx(zoomed)
    focus_token(page, 39)  # out of sight: the view follows
    page.wait_for_function(MARKED, arg=BOXES[name])
    low, high = view(page, name)
    assert low < 39 < high


@TABS
def test_every_plot_has_its_numbers_in_a_table(page: Any, name: str) -> None:
    focus_token(page, 4)
    open_tab(page, name)
    page.wait_for_selector("[data-part=plot-table] summary")
    page.locator("[data-part=plot-table] summary").press("Enter")
    page.wait_for_selector("[data-part=plot-rows] tbody td")
    rows = page.locator("[data-part=plot-rows] tbody tr")
    names = rows.locator("th").all_text_contents()
    assert names == page.locator(".pane.up .t").all_text_contents() and "<b>" in names
    cells = rows.nth(4).locator("td").all_text_contents()
    data = page.eval_on_selector(BOXES[name], "box => box.data.map(one => [...one.y])")
    plot, table = (page.locator(part).bounding_box() for part in (BOXES[name], "[data-part=plot-rows]"))
    assert plot["y"] + plot["height"] <= table["y"], "the table stands below its plot"
    if name == "strip":
        assert len(cells) == 1 + len(data[0]) and "same" in cells
    else:
        assert [float(cell.replace("−", "-")) for cell in cells] == pytest.approx(
            [5, *(one[4] for one in data)], abs=0.006
        )
    page.locator("[data-part=theme]").press("Enter")  # drawn again, the table stays as it is
    assert rows.count() == COUNT and violations(page) == []
    page.locator("[data-part=plot-table] summary").press("Enter")


@MAINLY_BARS
def test_every_plot_can_be_saved_as_png_and_svg(page: Any, name: str) -> None:
    focus_token(page, 4)
    open_tab(page, name)
    saved = {}
    for kind in ("PNG", "SVG"):
        with page.expect_download() as download:
            page.locator(f"{BOXES[name]} [data-title='Save as {kind}']").press("Enter")
        assert download.value.suggested_filename == f"eft-{name}.{kind.lower()}"
        saved[kind] = Path(download.value.path()).read_bytes()
    assert saved["PNG"].startswith(b"\x89PNG\r\n\x1a\n") and len(saved["PNG"]) > 5000
    tree = ElementTree.fromstring(saved["SVG"])
    texts = {text for node in tree.iter() if (text := node.text)}
    assert tree.tag == "{http://www.w3.org/2000/svg}svg" and {"capital", "<b>"} <= texts
