"""Texts of any script and direction, and translators or extensions that change the page while it writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eft_demo.runs.trace import RunTrace
from eft_demo.settings import Settings
from eft_demo.ui.saved_page import to_html
from tests.fakes import make_service
from tests.saying import said
from tests.site import BROWSER_MARKS, Site, run, serving, texts, wait_end
from tests.tiers import exhaustive, first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS

ARABIC = "مرحبا بالعالم Fine-Tuning رائع."


def in_bytes(text: str) -> list[str]:
    """A token per byte, as in families that have not learnt the script."""
    return [bytes([byte]).decode("utf-8", "surrogateescape") for byte in text.encode()]


# Each is cut inside joined characters: into letters, or into bytes of them.
JOINED = {
    "Arabic": list("مرحبا"),
    "Arabic in bytes": in_bytes("سلام"),
    "Devanagari": list("क्षत्रिय"),
    "Devanagari in bytes": in_bytes("क्षत्रिय"),
    "emoji in bytes": in_bytes("👩\u200d🚀👍🏽"),
    "accents in bytes": in_bytes("e\u0301o\u0308"),
    "Thai": list("ที่นี่"),
    "emoji": ["👩", "\u200d", "🚀", "👍", "🏽", "🇵", "🇪"],
    "accents": ["e", "\u0301", "o", "\u0308"],
    "Hangul": list("\u1112\u1161\u11ab"),
}
# The width of the tokens, without boxes for partial characters, and of the same letters in one piece.
WIDTHS = """text => {
  const spans = [...text.querySelectorAll(".t")], range = document.createRange();
  const boxes = spans.filter((span) => span.matches(".part:not(.joined), .mute"));
  const letters = spans.filter((span) => !boxes.includes(span)).map((span) => span.textContent).join("");
  const boxed = boxes.reduce((sum, box) => sum + box.getBoundingClientRect().width, 0);
  range.setStartBefore(spans[0]);
  range.setEndAfter(spans.at(-1));
  const probe = document.createElement("span");
  probe.style.cssText = "position: absolute; white-space: pre; font: " + getComputedStyle(text).font;
  probe.dir = "auto";
  document.body.append(probe);
  probe.textContent = letters;
  const whole = probe.getBoundingClientRect().width;
  probe.remove();
  return [range.getBoundingClientRect().width - boxed, whole];
}"""
# The indices of tokens with text in visual order, from left to right.
ORDER = """text => [...text.querySelectorAll(".t")].map((t, i) => [i, t.getBoundingClientRect()])
  .filter(([, at]) => at.width > 0)
  .sort(([, a], [, b]) => Math.abs(a.top - b.top) > 9 ? a.top - b.top : a.left - b.left).map(([i]) => i)"""


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings(), pause_s=0.03), browser) as site:
        yield site


def opened(site: Site, trace: RunTrace) -> Any:
    page = site.open()
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = 'instant'; }")
    show(page, trace)
    return page


def show(page: Any, trace: RunTrace, name: str = "run.json") -> None:
    """Open a run by its file and show all of it."""
    page.click("[data-part=open]")
    file = {"name": name, "mimeType": "application/json", "buffer": trace.to_json().encode("ascii")}
    page.set_input_files("[data-part=file]", file)
    page.wait_for_selector(f"[data-part=replay-title]:text-is('{name}')")
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Replay'")


def saved(site: Site, trace: RunTrace, tmp_path: Path) -> Any:
    path = tmp_path / "run.html"
    path.write_text(to_html(trace), encoding="utf-8")
    page = site.new_page()
    page.on("pageerror", lambda error: site.complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector(".t", state="attached")
    return page


@exhaustive
def test_letters_join_across_tokens(site: Site, tmp_path: Path) -> None:
    page, apart = opened(site, said(["any"])), []
    for number, (script, pieces) in enumerate(JOINED.items()):
        trace = said(pieces)
        show(page, trace, f"{number}.json")
        page.select_option("[data-part=colour]", "tuning")
        page.wait_for_selector(".t.strong.raised", state="attached")
        assert texts(page)[0] == "".join(pieces).encode("utf-8", "surrogateescape").decode(), script
        for colour in ("tuning", "probability", "rank", "flip"):
            page.select_option("[data-part=colour]", colour)
            for column in page.locator(".pane .text").all():
                apart.append((script, colour, *column.evaluate(WIDTHS)))
        static = saved(site, trace, tmp_path)
        apart.append((script, "saved", *static.locator(".pane .text").last.evaluate(WIDTHS)))
        static.close()
    assert [case for case in apart if abs(case[2] - case[3]) >= 1] == []


def test_a_text_has_the_direction_of_its_letters_wherever_it_is_shown(site: Site, tmp_path: Path) -> None:
    pieces = ["مرحبا", " Fine", "-Tuning", " رائع", ".", "\n", "Then English", "."]
    trace = said(pieces, prompt=ARABIC, names=(ARABIC, "Up"))
    page = opened(site, trace)
    page.fill("#eft-prompt", ARABIC)
    direction = "e => getComputedStyle(e).direction"
    for place in ("#eft-prompt", ".pane .text", ".pane h2", "[data-part=replay-prompt]"):
        assert page.locator(place).first.evaluate(direction) == "rtl", place
    order = page.locator(".pane .text").first.evaluate(ORDER)
    # The Arabic line from right to left, the English inside it and below it from left to right.
    assert [i for i in order if i != 5] == [4, 3, 1, 2, 0, 6, 7]
    assert page.locator(".pane .text").first.evaluate("e => getComputedStyle(e).textAlign") == "start"
    left, right = (
        page.locator(".pane .t").nth(i).evaluate("t => t.getBoundingClientRect().left") for i in (6, 0)
    )
    assert right - left > 60  # each paragraph starts on its own side
    page.locator(".pane .t").first.dispatch_event("click")
    assert page.locator(".cand").first.evaluate(direction) == "rtl"
    for place in (".eft", "[data-part=card-title]", ".foot", ".recipe"):
        assert page.locator(place).first.evaluate(direction) == "ltr", place
    page.click("[data-part=compare] summary")
    page.wait_for_selector("[data-part=diff] span")
    assert page.locator("[data-part=diff]").evaluate(direction) == "rtl"
    page.check("[data-part=numbers]")
    assert [i for i in page.locator(".pane .text").first.evaluate(ORDER) if i != 5] == [4, 3, 1, 2, 0, 6, 7]
    page = saved(site, trace, tmp_path)
    for place in ("[data-part=prompt]", ".pane .text", ".pane h2"):
        assert page.locator(place).first.evaluate(direction) == "rtl", place
    assert [i for i in page.locator(".pane .text").first.evaluate(ORDER) if i != 5] == [4, 3, 1, 2, 0, 6, 7]


def test_bidi_control_characters_are_shown_and_have_no_effect(site: Site, tmp_path: Path) -> None:
    page = opened(site, said(["any"]))
    for number, control in enumerate(("\u202e", "\u202b", "\u2067", "\u2069", "\u2066\u202e")):
        pieces = ["one", " two", control, " three", " four" + control + "five", " six"]
        trace = said(pieces, names=(f"a{control}b", "Up"))
        show(page, trace, f"{number}.json")
        names = [f"⟨{ord(character):X}⟩" for character in control]
        for shown_on in (page, saved(site, trace, tmp_path)):
            column = shown_on.locator(".pane .text").first
            assert column.evaluate(ORDER) == [0, 1, 2, 3, 4, 5], names
            shown = column.locator(".sign").evaluate_all(
                "all => all.map(sign => getComputedStyle(sign, '::before').content)"
            )
            assert [label.split('"')[1] for label in shown] == names * 2
            said_there = "".join(trace.pieces[str(record.id)] for record in trace.columns[0].tokens)
            assert column.evaluate("text => text.textContent") == said_there, names


def test_control_characters_are_shown_everywhere_and_joiners_are_not(site: Site) -> None:
    flag = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
    pieces = [
        "a\x00b",
        "\x1b[2J",
        "so\u00adft",
        "\ufeffx",
        "\u061c",
        "क्\u200dष",
        "👩\u200d🚀",
        flag,
        "\U000e0041",
        "a\tb\n",
    ]
    page = opened(site, said(pieces))
    shown = page.locator(".pane .text").first.evaluate(
        "text => [...text.querySelectorAll('.sign')].map(sign => sign.dataset.label)"
    )
    assert shown == ["⟨0⟩", "⟨1B⟩", "⟨AD⟩", "⟨FEFF⟩", "⟨61C⟩", "⟨E0041⟩"]
    assert texts(page)[0] == "".join(pieces)


# What browser translators and word-marking extensions do to every text of the page.
WRAP = """(word) => {
  const walker = document.createTreeWalker(document.querySelector(".eft"), NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  for (const node of nodes) {
    const at = node.parentElement;
    if (!at || at.closest("textarea, option, svg, font") || !node.data.trim()) continue;
    if (word) {
      const span = Object.assign(document.createElement("span"), { className: "word" });
      at.replaceChild(span, node);
      span.append(node);
    } else {
      const outer = document.createElement("font"), inner = document.createElement("font");
      inner.textContent = node.data;
      outer.append(inner);
      at.replaceChild(outer, node);
    }
  }
}"""


@pytest.mark.parametrize("word", first_of(False, True), ids=["translator", "extension"])
def test_tokens_can_be_clicked_after_a_translator_wrapped_their_texts(site: Site, word: bool) -> None:
    page = site.open()
    run(page, "How do chemists write gold?", 40)
    wait_end(page)
    page.evaluate(WRAP, word)
    said_there = texts(page)[0]
    token = page.locator(".pane .t").nth(4)
    inner = token.locator("font font, .word").first
    inner.click()
    assert token.get_attribute("aria-pressed") == "true"
    assert "token 5 of" in page.locator("[data-part=card-title]").inner_text()
    page.locator(".pane .t").nth(7).locator("font font, .word").first.hover()
    page.wait_for_function(
        "document.querySelector('[data-part=peek]:not([hidden])')?.textContent.includes('token 8 of')"
    )
    page.mouse.move(0, 0)
    page.wait_for_selector("[data-part=peek]", state="hidden")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("[data-part=peek]:not([hidden])")  # so that the card is not drawn again
    assert page.locator(".pane .t").nth(5).get_attribute("aria-pressed") == "true"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className").startswith("cand")
    page.evaluate(WRAP, word)
    page.locator(".candidates tbody tr").nth(1).locator("font font, .word").first.click()  # a branch
    page.wait_for_selector(".node")
    wait_end(page)
    assert page.locator(".pane").count() == 3
    page.evaluate(WRAP, word)
    page.locator(".node").first.locator("font font, .word").first.click()
    assert texts(page)[0] == said_there


@pytest.mark.parametrize("word", first_of(False, True), ids=["translator", "extension"])
def test_streaming_continues_after_another_program_changed_the_text(site: Site, word: bool) -> None:
    page = site.open()
    run(page, "chant", 160)
    for count in (3, 9, 20):
        page.wait_for_function("n => document.querySelectorAll('.pane .t').length > n", arg=count)
        page.evaluate(WRAP, word)
        # and the caret is wrapped, moved to the front, or removed; a foreign element is among the columns
        page.evaluate(
            """n => { const caret = document.querySelector(".pane .caret"), text = caret?.closest(".text");
               document.querySelector(".columns").prepend(document.createElement("grammar-helper"));
               const wrap = document.createElement("font");
               if (n === 3) caret.replaceWith(wrap), wrap.append(caret);
               else if (n === 9 && caret) text.prepend(caret);
               else caret?.remove(); }""",
            count,
        )
    wait_end(page)
    assert page.locator(".pane").first.locator(".t").count() == 160
    first = page.locator(".pane .text").first.evaluate(
        "text => [...text.querySelectorAll('.t')].map(t => t.textContent).join('')"
    )
    assert first == "l" * 160
    assert page.locator(".pane .widen").count() == 3
    page.locator(".pane .widen").nth(2).click()
    assert "wide" in page.locator(".pane").nth(2).get_attribute("class")


def test_menus_keep_their_choice_when_their_options_are_translated(site: Site) -> None:
    page = site.open()
    run(page, "gold", 8)
    wait_end(page)
    page.select_option("[data-part=same-of]", "0")
    page.evaluate("for (const option of document.querySelectorAll('option')) option.textContent = 'traduit'")
    page.locator(".pane.up .t").first.click()
    page.keyboard.press("r")
    page.wait_for_selector(".node")
    wait_end(page)
    assert page.input_value("[data-part=same-of]") == "0"


def test_everything_that_shows_tokens_is_marked_as_not_to_be_translated(site: Site, tmp_path: Path) -> None:
    page = site.open()
    run(page, "How do chemists write gold?", 60)
    wait_end(page)
    page.locator(".pane.up .t").nth(2).click()
    page.keyboard.press("r")
    page.wait_for_selector(".node")
    wait_end(page)
    page.click("[data-part=compare] summary")
    page.wait_for_selector("[data-part=diff] > *")
    page.wait_for_selector(".plot .barlayer .point")
    page.locator(".pane.up .t").nth(1).hover()
    page.wait_for_selector("[data-part=peek]:not([hidden])")
    places = [".text", ".cand", ".node b", ".diff > *", ".plot text", ".peek b", ".fall h3 b", ".said b",
              "[data-part=card-title] bdi", ".candidates tfoot bdi", ".examples a span", "#eft-prompt",
              ".recipe"]  # fmt: skip
    kept = """place => [...document.querySelectorAll(place)]
        .map((e) => ["[translate=no]", ".notranslate"].map((mark) => e.closest(mark) !== null))"""
    for place in places:
        found = page.evaluate(kept, place)
        assert found and all(no for no, _ in found), place
    assert page.locator("h1, .hint").first.evaluate("e => e.translate")  # the page's own texts may be
    page = saved(site, said(["Lima", " is"]), tmp_path)
    for place in (".text", "[data-part=prompt]", "[data-part=card-title] bdi", "tbody th > *", ".fall h3 b"):
        found = page.evaluate(kept, place)
        assert found[0] == [True, True], place
