"""The two plotting scripts: the page loads the light one, and the full one for a figure that needs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eft_demo.figures.tab import PlotTab, ShownColumn, token_layout
from eft_demo.figures.tabs import TABS
from eft_demo.settings import Settings
from eft_demo.ui import page as pages
from eft_demo.ui import run_store
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, Site, run, serving, wait_end
from tests.tiers import exhaustive

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
LIGHT, FULL = "plotly-basic.min.js", "plotly.min.js"
BARS, STRIP, ADDED = (f"[data-part={name}]" for name in ("plot", "strip-plot", "added-plot"))
LENGTH = 60  # more tokens than a plot has room for
FAILED = "The plotting script could not be loaded. Reload the page to try again."
SCRIPTS = """performance.getEntriesByType('resource').map(({ name }) => name.split('/').at(-1))
  .filter(name => name.includes('plotly'))"""
TYPES = "box => document.querySelector(box)._fullData?.map(({ type }) => type).join(' ') ?? ''"
HIDDEN = "box => document.querySelector(box)._fullData?.filter(({ visible }) => visible !== true).length"
FITTED = """box => (plot =>
    Math.abs(plot._fullLayout.height - parseFloat(getComputedStyle(plot).minHeight)) < 50)(
    document.querySelector(box))"""  # within a legend's rows
WIDTH = "box => (([low, high]) => high - low)(document.querySelector(box)._fullLayout.xaxis.range)"


# Counts how often the light script, which has drawn this box, empties it.
COUNTED = """box => {
  const { drawnBy } = document.querySelector(box), purge = drawnBy.purge;
  window.emptied = 0;
  drawnBy.purge = (...all) => (window.emptied += 1, purge(...all));
}"""


def added_figure(shown: ShownColumn) -> dict[str, Any]:
    """The first column as steps, which the light script cannot draw, the others as bars."""
    trace = {
        "type": "bar" if shown.index else "waterfall",
        "x": list(range(len(shown.records))),
        "y": [record.logprob for record in shown.records],
    }
    layout = token_layout(shown.palette, shown.labels)
    return {"data": [trace], "layout": layout | {"yaxis": {"title": {"text": "nats"}}}}


ADDED_TAB = PlotTab("added", "added", "An added plot", "The log-probs of {column}.", added_figure)


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (pages, run_store):
            patch.setattr(module, "TABS", (*TABS, ADDED_TAB))
        with serving(make_service(Settings()), browser) as site:
            yield site


def finish(page: Any) -> None:
    run(page, "chant", LENGTH)
    wait_end(page)


def ran(site: Site) -> Any:
    """A page with a finished run and its bars."""
    page = site.open(1280, 720)
    finish(page)
    drawn(page, BARS, "bar")
    return page


def drawn(page: Any, box: str, kind: str) -> str:
    """Waits until the first trace in `box` is of this kind, and returns the kinds of all."""
    page.wait_for_function(f"([box, kind]) => ({TYPES})(box).startsWith(kind)", arg=[box, kind])
    kinds: str = page.evaluate(TYPES, box)
    return kinds


def zoom(page: Any, box: str) -> None:
    """Zooms in by the plot's button, and waits until that has happened."""
    wide = page.evaluate(WIDTH, box)
    page.locator(f"{box} [data-title='Zoom in']").press("Enter")
    page.wait_for_function(f"([box, wide]) => ({WIDTH})(box) < wide - 1", arg=[box, wide])


def saved(page: Any, box: str) -> str:
    """The picture that the plot's button saves."""
    with page.expect_download() as download:
        page.locator(f"{box} [data-title='Save as SVG']").press("Enter")
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_a_run_and_its_log_odds_load_the_light_script_alone(site: Site) -> None:
    page = ran(site)
    page.click("[data-part=tab-odds]")
    drawn(page, "[data-part=odds-plot]", "scatter")
    assert page.evaluate(SCRIPTS) == [LIGHT]


@exhaustive
def test_the_what_if_plot_loads_the_full_script_and_the_bars_stay_as_they_were(site: Site) -> None:
    page = ran(site)
    kinds = page.evaluate(TYPES, BARS)
    zoom(page, BARS)
    page.locator(f"{BARS} .legendtoggle").first.click()
    page.wait_for_function(f"box => ({HIDDEN})(box) === 1", arg=BARS)
    wide = page.evaluate(WIDTH, BARS)
    page.click("[data-part=tab-strip]")
    assert drawn(page, STRIP, "heatmap") == "heatmap" and page.locator(f"{STRIP} .hm image").count() == 1
    assert page.evaluate(SCRIPTS) == [LIGHT, FULL]
    zoom(page, STRIP)
    assert "<image" in saved(page, STRIP)
    page.click("[data-part=tab-bars]")
    assert page.evaluate(TYPES, BARS) == kinds
    assert (page.evaluate(HIDDEN, BARS), page.evaluate(WIDTH, BARS)) == (1, pytest.approx(wide))
    zoom(page, BARS)
    assert "<path" in saved(page, BARS)
    page.select_option("[data-part=plotted]", "0")
    page.wait_for_function(f"box => ({HIDDEN})(box) === 0", arg=BARS)
    finish(page)
    assert drawn(page, BARS, "bar") == kinds
    assert page.evaluate(SCRIPTS) == [LIGHT, FULL]


@exhaustive
def test_the_line_above_a_plot_names_its_columns_in_sight(site: Site) -> None:
    page = ran(site)
    for name, choices in (("odds", 2), ("strip", 1)):
        page.click(f"[data-part=tab-{name}]")
        line = page.locator(f"[data-part=panel-{name}] > .hint").first
        for width in (1280, 1110, 800):
            page.set_viewport_size({"width": width, "height": 720})
            assert line.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), (name, width)
        assert line.locator("select").count() == choices
    page.click("[data-part=tab-bars]")
    for height in (720, 1000, 720):  # from here on, the window's height alone is another one
        page.set_viewport_size({"width": 1280, "height": height})
        page.wait_for_function(FITTED, arg=BARS)
    assert "A cell names the token" in line.get_attribute("title")


def test_an_added_tab_may_have_figures_for_either_script(site: Site) -> None:
    page = ran(site)
    page.click("[data-part=tab-added]")
    for column, kind in (("2", "bar"), ("0", "waterfall"), ("1", "bar"), ("0", "waterfall")):
        page.select_option("[data-part=added-column]", column)
        assert drawn(page, ADDED, kind) == kind
        assert page.locator(f"{ADDED} .main-svg .xy .points path").count() > 0
        zoom(page, ADDED)
        if column == "2":
            page.evaluate(COUNTED, ADDED)
        assert page.evaluate(SCRIPTS) == [LIGHT, FULL][: 1 if column == "2" else 2]
    assert page.evaluate("window.emptied") == 2  # before each figure of the other script
    page.click("[data-part=tab-bars]")
    drawn(page, BARS, "bar")


def test_a_tab_that_is_left_while_its_script_loads_is_drawn_when_it_is_opened_again(site: Site) -> None:
    page, held = ran(site), []
    page.route(f"**/{FULL}", lambda route: held.append(route))
    with page.expect_request(f"**/{FULL}"):
        page.click("[data-part=tab-strip]")
    assert page.locator("[data-part=strip-note]").inner_text() == "Loading the plotting script…"
    page.click("[data-part=tab-bars]")
    zoom(page, BARS)
    page.evaluate("window.light = window.Plotly")
    held[0].continue_()
    page.wait_for_function("window.Plotly !== window.light")
    zoom(page, BARS)
    assert page.evaluate(TYPES, STRIP) == ""
    page.click("[data-part=tab-strip]")
    drawn(page, STRIP, "heatmap")
    assert "Loading" not in page.locator("[data-part=strip-note]").inner_text()


def test_without_the_full_script_a_figure_that_needs_it_is_not_drawn(site: Site) -> None:
    page = ran(site)
    page.route(f"**/{FULL}", lambda route: route.abort())
    page.click("[data-part=tab-strip]")
    page.get_by_text(FAILED).wait_for()
    page.click("[data-part=tab-added]")
    page.select_option("[data-part=added-column]", "0")
    page.locator("[data-part=added-note]").get_by_text(FAILED).wait_for()
    page.select_option("[data-part=added-column]", "2")
    drawn(page, ADDED, "bar")
    assert page.locator(ADDED).is_visible() and page.get_by_text(FAILED).count() == 1  # the hidden tab's
    assert page.evaluate(TYPES, STRIP) == ""
    forgive(site)


@pytest.mark.parametrize("missing", [(LIGHT,), pytest.param((LIGHT, FULL), marks=exhaustive)])
def test_without_the_light_script_the_full_one_draws_or_the_page_says_so(
    site: Site, missing: tuple[str, ...]
) -> None:
    page = site.new_page(viewport={"width": 1280, "height": 720})
    site.listen(page)
    for name in missing:
        page.route(f"**/{name}", lambda route: route.abort())
    page.goto(site.url)
    page.wait_for_selector(".pane", state="attached")
    finish(page)
    if FULL in missing:
        page.locator("[data-part=plot-empty]").get_by_text(FAILED).wait_for()
    else:
        drawn(page, BARS, "bar")
    forgive(site)


def forgive(site: Site) -> None:
    """Drops the browser's words on the scripts that the test took away."""
    site.complaints = [text for text in site.complaints if "ERR_FAILED" not in text]
