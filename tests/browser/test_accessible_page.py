"""No state of the page has a serious axe violation, and the page fits every screen."""

from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.settings import Settings
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, SPOKEN, Site, run, serving, violations, wait_end
from tests.tiers import exhaustive, first_of

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings(), pause_s=0.05), browser) as site:
        yield site


def show_small_card(page: Any) -> None:
    """Walk along the tokens until the small card shows: a column that still settles replaces its tokens."""
    shows = page.locator("[data-part=peek]:not([hidden])")
    for _ in range(30):
        page.locator(".pane.up .t").first.focus()
        page.keyboard.press("ArrowRight")
        try:
            shows.wait_for(timeout=2000)
        except sync_api.TimeoutError:
            continue
        return
    raise AssertionError("the small card never shows")


def begin_branch(page: Any) -> None:
    """The key acts on a token that has the focus, and columns that are drawn anew take the focus from it."""
    node = page.locator(".node").first
    for _ in range(30):
        page.locator(".pane.up .t").first.press("r")
        try:
            node.wait_for(timeout=2000)
        except sync_api.TimeoutError:
            continue
        return
    raise AssertionError("no branch begins")


@pytest.mark.parametrize(("width", "theme"), first_of((1400, "light"), (360, "dark")))
def test_no_state_of_the_page_has_a_serious_axe_violation(site: Site, width: int, theme: str) -> None:
    page = site.open(width, query=f"/?__theme={theme}")
    assert violations(page) == []
    run(page, "chant", 24)
    page.wait_for_selector(".t")
    assert violations(page) == []
    page.keyboard.press("Escape")
    wait_end(page)
    page.wait_for_selector(".plot .barlayer .point")
    page.click("[data-part=compare] summary")
    page.check("[data-part=differing]")
    for drawer in ("eft-columns", "eft-sampling"):
        page.click(f"[aria-controls={drawer}]")
    page.check("[data-part=numbers]")
    for colour in ("tuning", "entropy"):
        page.select_option("[data-part=colour]", colour)
        assert violations(page, "[data-part=columns], .legend") == []
    for tab in ("strip", "odds"):
        page.locator(f"[data-part=tab-{tab}]").press("Enter")
        assert violations(page, ".attribution") == []
    page.focus("[data-part=mode-free]")
    page.keyboard.press("ArrowRight")  # shared text
    wait_end(page)
    page.wait_for_selector("[data-part=odds-plot] .scatterlayer .point")
    show_small_card(page)
    begin_branch(page)
    wait_end(page)
    page.focus("#eft-alpha")
    page.keyboard.press("Home")  # a preview at alpha 0
    page.wait_for_selector(".t.parts")
    assert violations(page) == []
    page.fill("#eft-temperature", "99")
    page.click("[data-part=run]")
    page.wait_for_selector("[data-error=temperature]:not([hidden])")
    assert violations(page) == []
    for dialog in ("open", "share", "help"):
        page.click(f"[data-part={dialog}]")
        assert violations(page, "dialog[open]") == []
        page.keyboard.press("Escape")
    page.click("[data-part=open]")
    page.locator("[data-part=gallery] button").first.click()
    page.wait_for_selector("[data-part=replay]:visible")  # until then the dialog and the old run are visible
    page.wait_for_selector(".t")
    assert violations(page) == []
    page.locator(".t").first.press("Space")
    page.keyboard.press("Shift+R")  # it cannot be continued: another family recorded it
    page.wait_for_selector("[data-error=branch]:not([hidden])")
    assert violations(page, "[data-part=branches], [data-error=branch]") == []
    page.click(".family-chip")
    page.wait_for_selector(".family-choice")
    page.click(".format summary")
    page.wait_for_function("document.querySelector('.format[open] .whole').textContent")
    assert violations(page, "dialog[open]") == []


@pytest.mark.parametrize("theme", first_of("dark", "light"))
def test_the_text_beyond_the_first_change_is_readable_on_its_colours(site: Site, theme: str) -> None:
    page = site.open(1400, query=f"/?__theme={theme}")
    run(page, "chant", 12)
    page.locator(".pane.up .t:not(.stop-token)").nth(3).wait_for()
    page.keyboard.press("Escape")
    wait_end(page)
    page.eval_on_selector_all(  # at their strongest, which few texts reach
        ".pane.up .t:not(.stop-token)",
        """tokens => ["strong raised", "strong lowered", "grade-3", "grade-4"].forEach((colour, i) => {
            tokens[i].className = "t beyond " + colour;
            tokens[i].style.setProperty("--k", "48%");
        })""",
    )
    assert violations(page, "[data-part=columns]") == []


# The focused element, and whether its outline has the page's accent; "": the focus is back at the start.
RING = """() => {
    const now = document.activeElement, style = getComputedStyle(now);
    const probe = Object.assign(document.createElement("i"), { style: "color: var(--accent)" });
    document.querySelector(".eft").append(probe);
    const accent = getComputedStyle(probe).color;
    probe.remove();
    const label = now.dataset.part || now.getAttribute("aria-label") || now.dataset.title || now.id;
    const wide = style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2;
    const visible = (wide && style.outlineColor === accent) || style.boxShadow !== "none";
    return { name: now === document.body ? "" : now.tagName + " " + label, visible };
}"""


def test_every_stop_of_the_tab_key_shows_the_focus_in_the_colour_of_the_page(site: Site) -> None:
    page = site.open(query="/?__theme=dark")
    run(page, "abcdef", 20)
    wait_end(page)
    page.wait_for_selector(".plot .modebar-btn")
    page.focus("#eft-prompt")
    stops = []
    for _ in range(90):
        page.keyboard.press("Tab")
        stop = page.evaluate(RING)
        if not stop["name"]:
            break
        stops.append(stop)
    names = [stop["name"] for stop in stops]
    assert (
        "INPUT mode-free" in names and "INPUT numbers" in names and any("Zoom in" in name for name in names)
    )
    assert [stop["name"] for stop in stops if not stop["visible"]] == []


def test_the_end_of_a_column_is_announced_with_its_text(site: Site) -> None:
    page = site.open()
    page.evaluate(SPOKEN)
    run(page, "abcdef", 20)
    wait_end(page)
    page.wait_for_function("said.some(words => words.includes('Up-scaled, '))")
    name, said = page.evaluate(
        """() => { const pane = document.querySelector('.pane.up'), text = [...pane.querySelectorAll('.t')];
        return [text.map(t => t.textContent).join('').trim().slice(0, 5), said.join(' ')]; }"""
    )
    assert name and name in said.partition("Up-scaled, ")[2]
    # The slider says its value itself, and the sentence about the question is announced once.
    assert page.get_attribute("[data-part=alpha-value]", "aria-live") == "off"
    assert page.get_attribute("[data-part=outside]", "role") is None


def test_the_focus_stays_on_a_candidate_when_the_run_ends(site: Site) -> None:
    page = site.open()
    run(page, "chant", 200)
    page.wait_for_selector(".pane.up .t")
    page.locator(".pane.up .t").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".cand:focus")
    page.evaluate("document.querySelector('[data-part=stop]').click()")
    wait_end(page)
    page.wait_for_selector("[data-part=card][data-room]", state="attached")
    assert page.evaluate("document.activeElement.matches('.cand')")


def test_the_focus_goes_from_stop_to_the_slider_when_the_run_is_over(site: Site) -> None:
    page = site.open()
    run(page, "chant", 200)
    page.wait_for_selector(".pane.up .t")
    page.focus("[data-part=run]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.part") == "stop"
    page.keyboard.press("Enter")
    wait_end(page)
    assert page.evaluate("document.activeElement.dataset.part") == "alpha"


def test_a_token_that_gets_the_focus_back_is_in_view(site: Site) -> None:
    page = site.open(800, 437)  # 1600 by 874 at 200 %
    run(page, "abcdef", 20)
    wait_end(page)
    page.locator(".pane.up .t").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".cand:focus")
    page.evaluate("scrollTo(0, 10000)")
    page.keyboard.press("Escape")
    page.wait_for_selector(".t:focus")
    page.wait_for_function(
        """() => { const { top, bottom } = document.activeElement.getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight; }"""
    )


def test_a_gone_error_no_longer_describes_its_field(site: Site) -> None:
    page = site.open()
    page.fill("[data-part=prompt]", "")
    page.click("[data-part=run]")
    page.wait_for_selector("#eft-prompt-error:not([hidden])")
    run(page, "abcdef", 5)
    wait_end(page)
    assert page.text_content("#eft-prompt-error") == ""


@pytest.mark.parametrize(
    ("width", "theme"), first_of((360, "light"), (700, "dark"), (3840, "light"))
)  # 700: 200 % of 1400
def test_a_run_has_no_serious_axe_violation_at_any_width_and_theme(
    site: Site, width: int, theme: str
) -> None:
    page = site.open(width, query=f"/?__theme={theme}")
    run(page, "How do chemists write gold? 🜚 " + "x" * 60)
    wait_end(page)
    page.click("[data-part=compare] summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []


@exhaustive
def test_every_scrollable_box_can_be_focused_by_keyboard(site: Site) -> None:
    page = site.open(360)
    page.add_style_tag(content=".eft :is(.diff, .replay blockquote) { max-height: 12px !important; }")
    run(page, "How do chemists write gold? " * 8)
    wait_end(page)
    page.click("[data-part=compare] summary")
    page.wait_for_function("document.querySelector('.diff').textContent")
    assert violations(page) == []
    page.click("[data-part=open]")
    page.locator("[data-part=gallery] button").first.click()
    page.wait_for_selector("[data-part=replay]:visible")
    assert violations(page) == []


@pytest.mark.parametrize("theme", first_of("dark", "light"))
def test_the_page_works_at_200_percent_zoom_with_reduced_motion_and_forced_colours(
    site: Site, theme: str
) -> None:
    """All accessibility preferences at once: 640 px is 1280 px at 200 %."""
    wishes = {"forced_colors": "active", "reduced_motion": "reduce", "color_scheme": theme}
    page = site.open(640, 450, f"/?__theme={theme}", device_scale_factor=2, **wishes)
    assert page.input_value("[data-part=replay-speed]") == "instant"
    run(page, "chant")
    page.wait_for_selector(".pane.up .t.raised")
    assert page.evaluate("getComputedStyle(document.querySelector('.caret')).animationName") == "none"
    page.keyboard.press("Escape")
    wait_end(page)
    show_small_card(page)  # so that the card is not drawn again
    painted = page.locator(".pane.up .t.raised").first.evaluate("t => getComputedStyle(t).backgroundColor")
    assert painted not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)", "rgb(0, 0, 0)")
    outline = page.locator(".t[aria-pressed=true]").evaluate("t => getComputedStyle(t).outlineStyle")
    assert outline == "solid"
    widths = page.locator(".candidates .meter i").evaluate_all("all => all.map(bar => bar.offsetWidth)")
    assert max(widths) > 5  # bars are still bars
    shades = page.locator(".fall .track i").evaluate_all(
        "all => all.map(i => getComputedStyle(i).backgroundColor)"
    )
    assert len(set(shades)) > 2
    ink = page.evaluate("getComputedStyle(document.querySelector('.eft h1')).color")
    page.wait_for_selector(".plot .barlayer .point")
    assert page.evaluate("document.querySelector('.plot')._fullLayout.font.color") == ink
    for colour in ("rank", "entropy"):
        page.select_option("[data-part=colour]", colour)
    page.check("[data-part=numbers]")
    page.click("[data-part=compare] summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    assert violations(page) == []


@pytest.mark.parametrize(("width", "theme"), first_of((1280, "dark"), (360, "light")))
def test_all_controls_have_no_serious_axe_violation(site: Site, width: int, theme: str) -> None:
    page = site.open(width, query=f"/?__theme={theme}")
    page.click("[aria-controls=eft-columns]")
    page.click("[data-part=add-column]")
    page.select_option("#eft-column-1", label="Pad: α and β in one square")
    page.select_option("#eft-column-2", label="Blend of behaviours")
    page.fill("#eft-recipe-0", "large_base + alpha*(assistant small_base)")
    page.wait_for_selector("[data-error=column-0]:not([hidden])")
    page.wait_for_selector("#eft-alpha_pirate:visible")
    assert violations(page) == []
    page.click("[aria-controls=eft-method]")
    page.select_option("#eft-schedule", "list")
    page.select_option("#eft-filter", "mask")
    assert violations(page, "[data-part=more]") == []


# The text spacing of WCAG 1.4.12.
SPACED = """* { line-height: 1.5 !important; letter-spacing: 0.12em !important; }
    * { word-spacing: 0.16em !important; } p { margin-bottom: 2em !important; }"""
CUT = """() => [...document.querySelectorAll('.eft *')].filter((node) => {
    const shown = node.checkVisibility({ visibilityProperty: true });
    if (!shown || node.closest('.unseen, svg, .plot, .peek, input, select')) return false;
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    const scrolls = node.parentElement.closest('.candidates, .family-table, .examples, .columns, .pane-tabs');
    return (['hidden', 'clip'].includes(style.overflowX) && node.scrollWidth > node.clientWidth + 1)
        || (box.width && box.right > innerWidth + 1 && !scrolls);
}).map((node) => node.outerHTML.slice(0, 120))"""


# 320 by 640 is also 1280 by 2560 at 400 %; 640 by 360 is 1280 by 720 at 200 %.
@pytest.mark.parametrize(("width", "height"), first_of((320, 640), (640, 360)))
def test_no_text_is_cut_off_with_wider_letter_spacing(site: Site, width: int, height: int) -> None:
    page = site.open(width, height)
    page.add_style_tag(content=SPACED)
    assert page.evaluate(CUT) == []
    run(page, "gold silver", 20)
    wait_end(page)
    page.locator(".pane.up .t").nth(2).click()
    assert page.evaluate(CUT) == []
    page.keyboard.press("Escape")  # closes the sheet with the card
    for drawer in ("eft-columns", "eft-sampling", "eft-method"):
        page.click(f"[aria-controls={drawer}]")
        assert page.evaluate(CUT) == [], drawer
    for button in ("[data-part=share]", "[data-part=open]", "[data-part=help]", ".family-chip"):
        page.click(button)
        page.wait_for_selector("dialog[open]")
        assert page.evaluate(CUT) == [], button
        page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# What has the focus, and whether the sliders at the top of the window hide its middle.
BEHIND_SLIDERS = """() => {
    const one = document.activeElement, at = one.getBoundingClientRect();
    const seen = document.elementFromPoint(at.x + at.width / 2, Math.max(at.y, 0) + at.height / 2);
    const hidden = at.bottom <= 0 || (seen?.closest(".steer") && !one.closest(".steer"));
    return [one.tagName + " " + (one.ariaLabel || one.textContent).trim().slice(0, 40), Boolean(hidden)];
}"""


@pytest.mark.parametrize("recipe", ["large_base", "large_base + beta*(pirate - small_base)"])
def test_the_sliders_never_hide_what_has_the_focus(site: Site, recipe: str) -> None:
    page = site.open(1280, 577)  # a low window: the page scrolls
    page.click("[aria-controls=eft-columns]")
    page.fill("#eft-recipe-0", recipe)
    if "beta" in recipe:
        page.wait_for_selector("#eft-beta")
    run(page, "gold", 12)
    wait_end(page)
    page.locator(".pane.up .t").first.click()
    page.wait_for_selector("[data-part=card]:not([hidden]) .cand")
    hidden = []
    for key in ["Tab"] * 70 + ["Shift+Tab"] * 70:
        page.keyboard.press(key)
        name, behind = page.evaluate(BEHIND_SLIDERS)
        if behind:
            hidden.append(f"{key}: {name}")
    assert not hidden
