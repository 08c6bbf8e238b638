"""How the page shows tokens: columns of every recipe, one bar per term, drafts, values, the filter."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from eft_demo.method.recipe import AMPLIFIED, BASE, DOWNSCALED, PAD, TUNED, UPSCALED, Recipe, blend
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.runs.events import TokenEvent
from eft_demo.runs.trace import Draft, TokenRecord
from eft_demo.settings import Settings
from eft_demo.ui import handlers
from tests.fakes import make_service
from tests.hostile import HOSTILE
from tests.records import make_record
from tests.scripted import Script
from tests.site import BROWSER_MARKS, Site, serving, wait_end
from tests.tiers import first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
WORDS = (b"", b"Lima", b" is", b" fine", b" Quito", b" a")
FOUR = blend(["brief", "pirate", "assistant", "guarded"])
CONTROLS = {"alpha": 1.0, "beta": 1.5} | {f"alpha_{role}": 0.5 for role in FOUR.roles[1:]}


@dataclass
class Stage:
    """The page, and the script that it will be sent next."""

    site: Site
    script: Script = field(default_factory=Script)

    def play(self, script: Script, width: int = 1400, query: str = "") -> Any:
        """Open the page and run the script to its end."""
        self.script = script
        page = self.site.open(width, 1400, query)
        self.again(page)
        return page

    def again(self, page: Any) -> None:
        page.fill("#eft-prompt", "x")
        page.click("[data-part=run]")
        ends = sum(1 for _ in self.script.columns)
        page.wait_for_function(
            "n => [...document.querySelectorAll('.pane .foot b')].filter(b => b.textContent).length === n",
            arg=ends,
        )
        wait_end(page)
        # A script moves values, not the page's sliders; so the page would show what their positions change.
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        if page.locator("[data-part=as-written]").is_visible():
            page.click("[data-part=as-written]")


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings()), browser) as site:
        yield site


@pytest.fixture(scope="module")
def stage(site: Site) -> Iterator[Stage]:
    stage = Stage(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handlers, "stream_run", lambda *args: stage.script.stream_run(*args[:3]))
        yield stage


def likes(recipe: Recipe, lead: float = 1.0, push: float = 0.5) -> dict[int, dict[str, float]]:
    """Five words: bases prefer the first by `lead`, each tuned model pushes it by `push` more."""
    return {
        token: {
            role: -0.2 - (lead + (0 if role.endswith("_base") else push)) * (token - 1)
            for role in recipe.roles
        }
        for token in range(1, 6)
    }


def record(recipe: Recipe, chosen: int = 1, position: int = 0, **controls: float) -> TokenRecord:
    values = {name: CONTROLS[name] for name in recipe.controls} | controls
    return make_record(recipe, chosen, likes(recipe), position=position, controls=values)


def story(
    columns: Mapping[str, Recipe], words: Sequence[int] = (1, 2, 3), names: Sequence[bytes] = WORDS
) -> Script:
    script = Script(list(columns.items()), names)
    for p, recipe in enumerate(columns.values()):
        script.write(p, [record(recipe, word, i) for i, word in enumerate(words)])
    return script


def bars(page: Any) -> list[str]:
    page.wait_for_selector(".plot .barlayer .point")
    names: list[str] = page.evaluate("document.querySelector('.plot').data.map(trace => trace.name)")
    return names


@pytest.mark.parametrize(
    "columns",
    [
        {"Up-scaled": UPSCALED},
        {"Base": BASE, "Four behaviours": FOUR},
        {"Amplified": AMPLIFIED, "Tuned": TUNED, "Down-scaled": DOWNSCALED},
        {"Pad": PAD, "Base": BASE, "Up-scaled": UPSCALED, "Tuned": TUNED},
    ],
    ids=lambda columns: " ".join(columns),
)
def test_any_number_and_kind_of_columns(stage: Stage, columns: dict[str, Recipe]) -> None:
    page = stage.play(story(columns))
    assert page.locator(".pane h2").all_inner_texts() == list(columns)
    titles = [code.get_attribute("title") for code in page.locator(".pane .recipe").all()]
    whole = [re.sub(r"alpha(_\w+)?\*", "α·", str(recipe)) for recipe in columns.values()]
    assert titles == [text.replace("beta*", "β·").replace(" - ", " − ") for text in whole]
    assert all(page.locator(".pane .what").all_inner_texts())
    assert page.eval_on_selector_all(".pane .text", "t => t.map(t => t.textContent)") == [
        "Lima is fine"
    ] * len(columns)
    assert page.locator("[data-part=plotted] option").all_inner_texts() == list(columns)
    live = [name for name, recipe in columns.items() if recipe.controls]
    assert page.locator("[data-part=plotted] option:checked").inner_text() == live[-1]
    assert len(bars(page)) == 3 + len(columns[live[-1]].terms)


def test_a_second_run_may_have_other_columns(stage: Stage) -> None:
    page = stage.play(story({"Base": BASE, "Up-scaled": UPSCALED}))
    stage.script = story({"Pad": PAD})
    stage.again(page)
    assert page.locator(".pane h2").all_inner_texts() == ["Pad"]
    assert len(bars(page)) == 5


def test_one_bar_per_term_each_distinct_and_named(stage: Stage) -> None:
    page = stage.play(story({"Four behaviours": FOUR}))
    assert bars(page)[1:5] == [
        f"α · ({role} − small base)" for role in ("brief", "pirate", "assistant", "guarded")
    ]
    looks = page.evaluate(
        "document.querySelector('.plot').data.slice(0, 5).map(t => t.marker.color + t.marker.pattern?.shape)"
    )
    assert len(set(looks)) == 5 and all(look.startswith("#") for look in looks)
    legend = page.locator(".plot .legendtext").all_text_contents()
    assert "α · (pirate − small base)" in legend
    meters = page.locator(".candidates tbody tr").first.locator(".meter i")
    assert len({meter.evaluate("i => getComputedStyle(i).backgroundColor") for meter in meters.all()}) == 7


def test_any_column_can_be_plotted_by_menu_or_by_its_head(stage: Stage) -> None:
    page = stage.play(story({"Base": BASE, "Pad": PAD, "Up-scaled": UPSCALED}))
    assert len(bars(page)) == 4
    page.select_option("[data-part=plotted]", label="Pad")
    page.wait_for_function("document.querySelector('.plot').data?.length === 5")
    page.click(".pane h2 >> text=Base")
    page.wait_for_function("document.querySelector('.plot').data?.length === 3")
    assert page.evaluate("document.querySelector('.plot').data[0].y.length") == 3
    assert page.locator("[data-part=plotted] option:checked").inner_text() == "Base"


def drafted() -> Script:
    script = Script([("Base", BASE), ("Up-scaled", UPSCALED)], WORDS)
    script.write(0, [record(BASE)])
    script.write(
        1,
        [
            record(UPSCALED),
            replace(record(UPSCALED, 2, 1), draft=Draft(2, 0.93)),
            replace(record(UPSCALED, 3, 2), draft=Draft(4, 0.31)),
        ],
        acceptance_rate=0.72,
        speedup=1.83,
    )
    return script


def test_drafts_are_marked_by_more_than_colour(stage: Stage) -> None:
    page = stage.play(drafted())
    styles = page.eval_on_selector_all(
        ".pane.up .t", "nodes => nodes.map(node => getComputedStyle(node).textDecorationStyle)"
    )
    lines = page.eval_on_selector_all(
        ".pane.up .t", "nodes => nodes.map(node => getComputedStyle(node).textDecorationLine)"
    )
    assert lines == ["none", "underline", "underline"] and styles[1:] == ["dotted", "wavy"]
    legend = page.locator("[data-part=legend]").inner_text()
    assert "draft accepted" in legend and "draft rejected" in legend
    assert page.locator(".foot .drafts").all_inner_texts() == [
        "",
        "72 % of drafts accepted · speedup 1.8×",
    ]


# Of the words below the texts, those that are cut.
CUT = """() => [...document.querySelectorAll('.foot > *')].filter(node => {
    const at = node.getBoundingClientRect(), foot = node.parentNode.getBoundingClientRect();
    const outside = at.left < foot.left - 1 || at.right > foot.right + 1 || at.bottom > foot.bottom + 1;
    const cut = outside || node.scrollWidth > node.clientWidth + 1;
    return node.textContent && (cut || !node.checkVisibility());
}).map(node => node.textContent)"""
PLOT_IN_SIGHT = "document.querySelector('.attribution').getBoundingClientRect().bottom < innerHeight + 4"


@pytest.mark.parametrize("count", [3, 4])
def test_what_is_below_the_texts_wraps_in_sight_of_the_plot(stage: Stage, count: int) -> None:
    columns = [("Base", BASE), ("Up-scaled", UPSCALED), ("Tuned", TUNED), ("Amplified", AMPLIFIED)][:count]
    script = Script(columns, WORDS)
    for p, (_, recipe) in enumerate(columns):
        words = [record(recipe), replace(record(recipe, 2, 1), draft=Draft(2, 0.93))]
        script.write(p, words, acceptance_rate=0.72, speedup=1.83)
    stage.script = script
    page = stage.site.open(1280, 720)
    stage.again(page)
    if count == 3:  # four recipes have a line of their own, so the plot ends below a low window
        page.wait_for_function(PLOT_IN_SIGHT)
    assert page.locator(".foot .drafts:visible").count() == count
    assert page.evaluate(CUT) == []


def test_a_card_that_is_emptied_has_no_room_of_its_old_texts(stage: Stage) -> None:
    page = stage.play(story({"Base": BASE, "Up-scaled": UPSCALED}))
    page.wait_for_selector("[data-part=card-verdict]:visible")
    stage.script = Script([("Base", BASE)], WORDS)
    stage.script.write(0, [])
    stage.again(page)  # without a token, none is selected
    page.wait_for_selector("[data-part=card-verdict]", state="hidden")
    note, table = (page.locator(f"[data-part={part}]").bounding_box() for part in ("card-note", "card-table"))
    assert table["y"] - note["y"] - note["height"] < 30


def test_without_drafts_the_legend_does_not_mention_them(stage: Stage) -> None:
    page = stage.play(drafted())
    stage.script = story({"Up-scaled": UPSCALED})
    stage.again(page)
    assert "draft" not in page.locator("[data-part=legend]").inner_text()
    assert page.locator(".foot .drafts").inner_text() == ""


def test_the_card_and_the_screen_reader_say_whether_a_draft_was_accepted(stage: Stage) -> None:
    page = stage.play(drafted())
    second, third = page.locator(".pane.up .t").nth(1), page.locator(".pane.up .t").nth(2)
    second.click()
    said = page.locator("[data-part=card-more]").inner_text()
    assert "The small tuned model proposed is and the mix agreed." in said
    assert "overlap by 93 %, so such a draft is accepted 87 to 93 % of the time." in said
    assert second.get_attribute("aria-label").endswith("draft accepted")
    third.click()
    said = page.locator("[data-part=card-more]").inner_text()
    assert "proposed Quito; with the same noise the mix sampled fine instead." in said
    assert "overlap by 31 %" in said
    assert third.get_attribute("aria-label").endswith("draft Quito rejected")


def test_the_card_shows_the_slider_values_of_a_token(stage: Stage) -> None:
    script = Script([("Pad", PAD)], WORDS)
    moved = [record(PAD, 1, 0), record(PAD, 2, 1, alpha=0.25), record(PAD, 3, 2, alpha=0.25, beta=0.5)]
    script.write(0, moved)
    page = stage.play(script)
    notes = []
    for i in range(3):
        page.locator(".t").nth(i).click()
        notes.append(page.locator("[data-part=card-print]").inner_text().split(" · "))
    values = [[part for part in note if part[0] in "αβ"] for note in notes]
    assert values == [["α 1.00", "β 1.50"], ["α 0.25", "β 1.50"], ["α 0.25", "β 0.50"]]
    turns = [
        (t.get_attribute("data-name"), t.get_attribute("data-value")) for t in page.locator(".turn").all()
    ]
    assert turns == [("α", "0.25"), ("β", "0.50")]
    bars(page)
    assert page.evaluate("document.querySelector('.plot').layout.annotations.map(a => a.text)") == [
        "α 0.25",
        "β 0.50",
    ]


def test_invisible_characters_are_shown_as_such(stage: Stage) -> None:
    said = {b"caf": "caf", b"\xc3": "", b"\xa9": "é", b"\xe2\x80\x8b": "\u200b", b"\x07": "\x07", b"\n": "\n"}
    script = Script([("Base", BASE)], [b"", *said])
    chances = {token: {"large_base": -2.0} for token in range(1, len(said) + 1)}
    for i, text in enumerate(said.values()):
        script.events.append(TokenEvent(0, make_record(BASE, i + 1, chances, position=i), text, 0.02))
    script.write(0, [])
    page = stage.play(script)
    assert page.locator(".pane .text").evaluate("text => text.textContent") == "".join(said.values())
    labels = ["caf", "⟨C3⟩", "⟨A9⟩", "⟨200B⟩", "⟨7⟩", "↵"]
    for token, label in zip(page.locator(".pane .t").all(), labels, strict=True):
        assert token.bounding_box()["width"] > 3 or label == "↵"  # there is something to click
        token.evaluate("token => token.click()")
        assert f"“{label}”" in page.locator("[data-part=card-title]").inner_text()
        assert label in token.get_attribute("aria-label")
    ghosts = page.locator(".t .sign").evaluate_all(
        "all => all.map(t => getComputedStyle(t, '::before').content.split('\"')[1])"
    )
    assert ghosts == ["⟨200B⟩", "⟨7⟩"]
    page.locator(".pane .t").nth(1).click()
    assert "bytes C3" in page.locator("[data-part=card-print]").inner_text()


def test_a_schedule_is_not_marked_as_a_moved_slider(stage: Stage) -> None:
    script = Script([("Up-scaled", UPSCALED)], WORDS, schedule=parse_schedule("warmup 3"))
    script.write(0, [record(UPSCALED, 1, i, alpha=a) for i, a in enumerate([0.4, 0.8, 1.2, 1.2, 0.6])])
    page = stage.play(script)
    assert [t.get_attribute("data-value") for t in page.locator(".turn").all()] == ["0.60"]
    page.locator(".t").nth(1).click()
    assert "α 0.80" in page.locator("[data-part=card-print]").inner_text()


def test_the_card_says_where_the_weight_filter_blocked_the_terms(stage: Stage) -> None:
    script = Script([("Up-scaled", UPSCALED)], WORDS, weight_filter=parse_weight_filter("top-p 0.9"))
    script.write(0, [record(UPSCALED), replace(record(UPSCALED, 4, 1), bars=(0.0,))])
    page = stage.play(script)
    page.locator(".t").nth(0).click()
    assert page.locator("[data-part=card-more]").is_hidden()
    page.locator(".t").nth(1).click()
    assert "outside the large base's top 90 %" in page.locator("[data-part=card-more]").inner_text()


def test_a_screen_reader_announces_what_a_token_is(stage: Stage) -> None:
    page = stage.play(story({"Base": BASE, "Up-scaled": UPSCALED, "Amplified": AMPLIFIED}))
    labels = []
    for p in range(3):
        token = page.locator(f".text[data-p='{p}'] .t").first
        token.click()
        labels.append(token.get_attribute("aria-label"))
    assert labels[0] == "Token 1 of 3, Lima, 82 percent"
    assert labels[1] == "Token 1 of 3, Lima, 78 percent, base 82 percent, unchanged by tuning"
    assert labels[2].startswith("Token 1 of 3, Lima, ") and "small tuned 82 percent" in labels[2]


def marks(page: Any) -> list[list[str]]:
    """The classes of the up-scaled column's tokens, without those of their kind."""
    found: list[list[str]] = page.eval_on_selector_all(
        ".pane.up .t", "nodes => nodes.map(n => [...n.classList].slice(1))"
    )
    return found


def test_every_colouring_can_be_chosen(stage: Stage) -> None:
    script = Script([("Base", BASE), ("Up-scaled", UPSCALED)], WORDS)
    script.write(0, [record(BASE)])
    rows = [
        replace(record(UPSCALED, 1, 0), logprob=-0.05, rank=1, entropy_nats=0.05),
        replace(record(UPSCALED, 2, 1, alpha=0.0), logprob=-1.0, rank=5, entropy_nats=0.7),
        replace(record(UPSCALED, 3, 2), logprob=-2.0, rank=50, entropy_nats=1.5),
        replace(record(UPSCALED, 4, 3), logprob=-4.0, rank=500, entropy_nats=3.0),
    ]
    script.write(1, rows)
    page = stage.play(script)
    # log-probs and attributions are made up here and need not agree
    page.select_option("[data-part=colour]", "probability")
    assert marks(page) == [["grade-0"], ["grade-2"], ["grade-3"], ["grade-4"]]
    page.select_option("[data-part=colour]", "rank")
    assert marks(page) == [["grade-0"], ["grade-1"], ["grade-2"], ["grade-3"]]
    assert "11 to 100" in page.locator("[data-part=legend]").inner_text()
    page.select_option("[data-part=colour]", "entropy")
    assert marks(page) == [["grade-0"], ["grade-2"], ["grade-3"], ["grade-4"]]
    widths = page.eval_on_selector_all(
        ".pane.up .t", "n => n.map(t => getComputedStyle(t).borderBottomWidth)"
    )
    assert widths == ["0px", "2px", "3px", "4px"]  # the second cue grows with the colour
    page.select_option("[data-part=colour]", "flip")
    assert marks(page) == [[], [], ["flip"], ["flip"]]  # alpha is 0 at the second: its column is its anchor
    page.select_option("[data-part=colour]", "none")
    assert marks(page) == [[], [], [], []]
    page.select_option("[data-part=colour]", "tuning")
    assert [sorted({"raised", "lowered"} & set(classes)) for classes in marks(page)] == [
        ["raised"], ["raised"], ["raised"], ["lowered"]
    ]  # fmt: skip
    stage.again(page)
    assert len(marks(page)) == 4


def test_a_chosen_colour_stays_for_the_next_run_and_drafts_stay_marked(stage: Stage) -> None:
    page = stage.play(drafted())
    page.select_option("[data-part=colour]", "rank")
    stage.again(page)
    assert [classes[:1] for classes in marks(page)] == [["grade-0"], ["accepted"], ["resampled"]]
    assert "first choice" in page.locator("[data-part=legend]").inner_text()
    assert "draft accepted" in page.locator("[data-part=legend]").inner_text()


def test_numbers_can_be_shown_above_tokens(stage: Stage) -> None:
    page = stage.play(story({"Base": BASE, "Up-scaled": UPSCALED}))
    token = page.locator(".pane.up .t").nth(1)
    shown = "t => getComputedStyle(t, '::after').content"
    assert token.evaluate(shown) in ("none", "normal") or "▼" in token.evaluate(shown)
    page.check("[data-part=numbers]")
    page.select_option("[data-part=colour]", "rank")
    assert '"#2"' in token.evaluate(shown)
    page.select_option("[data-part=colour]", "flip")
    assert '"Lima"' in token.evaluate(shown)
    assert page.eval_on_selector_all(".pane .text", "t => t.map(t => t.textContent)") == ["Lima is fine"] * 2
    page.uncheck("[data-part=numbers]")
    assert token.evaluate(shown) in ("none", "normal")


@pytest.mark.parametrize("start", first_of(*range(0, len(HOSTILE), 10)))
def test_hostile_text_is_never_markup(stage: Stage, start: int) -> None:
    batch = [text.encode("utf-8", "surrogatepass") for text in HOSTILE[start : start + 10]]
    names = [b"", *batch]
    count = len(batch)
    script = Script([(HOSTILE[start], BASE), (HOSTILE[start + 1], FOUR)], names)
    many = {token: dict.fromkeys(FOUR.roles, -0.1 * token - 1) for token in range(1, count + 1)}
    values = dict.fromkeys(FOUR.controls, 0.5)
    script.write(0, [make_record(BASE, 1, many)], error=HOSTILE[start + 2], finish_reason="error")
    script.write(
        1,
        [
            replace(
                make_record(FOUR, i, many, position=i - 1, controls=values), draft=Draft(count + 1 - i, 0.5)
            )
            for i in range(1, count + 1)
        ],
    )
    page = stage.play(script)
    bars(page)
    shown = page.locator(".pane .text").nth(1).evaluate("node => node.textContent")
    assert shown == "".join(HOSTILE[start : start + count])
    assert page.locator(".pane .sentence").first.evaluate("p => p.textContent") == HOSTILE[start + 2]
    for token in page.locator(".text[data-p='1'] .t").all():
        token.evaluate("node => node.click()")
    page.check("[data-part=numbers]")
    for name in ("probability", "rank", "entropy", "flip", "none"):
        page.select_option("[data-part=colour]", name)
    page.select_option("[data-part=plotted]", index=0)
    page.wait_for_function("document.querySelector('.plot').data?.length === 3")
    assert page.evaluate("window.pwned") is None
    assert page.locator(".eft script, .eft iframe, .eft img, .eft object, .eft style").count() == 0


@pytest.mark.parametrize("theme", first_of("dark", "light"))
@pytest.mark.parametrize("width", first_of(360, 1600))
def test_four_columns_fit_at_every_width(stage: Stage, theme: str, width: int) -> None:
    columns = {"Four behaviours": FOUR, "Pad": PAD, "Amplified": AMPLIFIED, "Up-scaled": UPSCALED}
    page = stage.play(story(columns, [1, 2, 3] * 12), width, f"/?__theme={theme}")
    bars(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
