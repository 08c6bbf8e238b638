"""Share and Open by keyboard alone: links that only fill in fields, saved files, replays."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from eft_demo.runs.gallery import GALLERY
from eft_demo.runs.replay import open_run
from eft_demo.runs.trace import RunTrace, seed_of
from eft_demo.settings import Settings
from eft_demo.ui import replays
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, Site, run, serving, stays, texts, wait_end

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
# Pressed inside the page, because a busy machine might be too slow from outside.
PAUSE_EARLY = """() => document.querySelectorAll('.t').length > 5
  && document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))"""
RECORDED = json.loads(RunTrace.from_json((replays.RUNS / "blend.json").read_text(encoding="ascii")).to_json())
LENGTHS = [len(column["tokens"]) for column in RECORDED["columns"]]


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings()), browser) as site:
        yield site


def press(page: Any, selector: str, key: str = "Enter") -> None:
    page.focus(selector)
    page.keyboard.press(key)


def set_field(page: Any, name: str, value: float) -> None:
    page.eval_on_selector(
        f"#eft-{name}", "(f, v) => { f.value = v; f.dispatchEvent(new Event('input')); }", value
    )


def open_share(page: Any) -> str:
    """The link that the dialog shows."""
    press(page, "[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    link: str = page.input_value("[data-part=link]")
    return link


def save_json(page: Any, path: Path) -> None:
    """Save the run as a trace, by keyboard, and close the dialog."""
    open_share(page)
    with page.expect_download() as download:
        page.locator("[data-part=formats] button").nth(1).press("Enter")
    download.value.save_as(path)
    page.keyboard.press("Escape")


def open_file(page: Any, path: Path) -> None:
    page.click("[data-part=open]") if not page.locator("dialog[open]").count() else None
    page.set_input_files("[data-part=file]", path)


def at_once(page: Any) -> None:
    """Replay opened runs instantly from now on."""
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = 'instant'; }")


def wait_replay(page: Any) -> None:
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Replay'")


def test_a_link_fills_in_the_page_and_waits_for_run(site: Site) -> None:
    page = site.open()
    page.fill("#eft-prompt", "Tell me & be quick? 🙂")
    set_field(page, "alpha", 2.5)
    set_field(page, "seed", 41)
    page.select_option("[data-part=behaviour]", "pirate")
    link = open_share(page)
    assert link.startswith(page.url.partition("#")[0] + "#v=1&")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press(page, "[data-part=copy]")
    page.wait_for_function("document.querySelector('[data-part=link-note]').textContent.startsWith('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.part") == "share"

    other = site.open(query=link.removeprefix(site.url))
    other.wait_for_function("document.querySelector('#eft-prompt')?.value.endsWith('🙂')")
    other.wait_for_function("document.querySelector('#eft-seed')?.value === '41'")
    assert other.input_value("[data-part=behaviour]") == "pirate"
    assert other.locator("[data-part=alpha-value]").inner_text() == "2.50"
    assert other.locator("[data-error=link]").is_hidden()
    assert stays(other, ".pane.up .text")
    assert other.locator(".t").count() == 0 and other.locator("[data-part=stop]").is_disabled()
    other.click("[aria-controls=eft-columns]")
    other.select_option("#eft-column-0", index=1)
    named = other.locator(".pane h2").all_inner_texts()
    assert named[0] != "Base" and other.locator(".primer b").all_inner_texts() == named
    other.select_option("#eft-column-0", index=0)
    other.focus("#eft-prompt")
    other.keyboard.press("Control+Enter")
    other.wait_for_selector(".t")
    wait_end(other)
    assert texts(other)[0] == "Tell me & be quick? 🙂"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/?v=9&prompt=Hi+there", "version 1"),
        ("/?v=1&prompt=Hi+there&seed=<img src=x onerror=window.pwned=1>", "Seed"),
        ("/#v=1&prompt=Hi+there&alpha=<script>window.pwned=1</script>", "alpha"),
        ("/?v=1&amp;prompt=Hi+there&amp;top_k=x", "Top-k"),
    ],
)
def test_errors_in_a_link_are_named_and_the_rest_is_filled_in(site: Site, address: str, words: str) -> None:
    page = site.open(query=address)
    page.wait_for_selector("[data-error=link]:not([hidden])")
    assert words in page.locator("[data-error=link]").inner_text()
    assert page.input_value("#eft-prompt") == "Hi there"
    run(page, "still works")
    page.wait_for_selector(".t")
    wait_end(page)
    assert page.locator("[data-error=link]").is_hidden()


@pytest.mark.parametrize(
    "address",
    [
        "/?v=1&prompt=Hi+there&seed=41",  # an old link
        "/?__theme=dark#v=1&prompt=Hi+there&seed=41",  # as a Space's frame gets it
        "/?v=1&amp;prompt=Hi+there&amp;seed=41",
        "/#v=1&prompt=Hi+there&seed=41>",
    ],
)
def test_a_link_is_read_after_a_hash_or_question_mark_and_with_parameters_of_others(
    site: Site, address: str
) -> None:
    page = site.open(query=address)
    page.wait_for_function("document.querySelector('#eft-seed')?.value === '41'")
    assert page.input_value("#eft-prompt") == "Hi there"


def test_a_link_pasted_over_another_is_read_and_no_prompt_is_sent_in_an_address(site: Site) -> None:
    page = site.open()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    long = "ü" * 1400
    page.evaluate("hash => { location.hash = hash; }", urlencode({"v": 1, "prompt": long, "seed": "x"}))
    page.wait_for_function("document.querySelector('#eft-prompt').value.length === 1400")
    page.wait_for_selector("[data-error=link]:not([hidden])")
    page.evaluate("location.hash = 'v=1&prompt=Another&seed=5'")
    page.wait_for_function("document.querySelector('#eft-seed').value === '5'")
    assert page.input_value("#eft-prompt") == "Another"
    assert page.locator("[data-error=link]").is_hidden()
    page.evaluate("location.hash = 'key=secret-of-the-terminal'")
    page.reload()
    page.wait_for_selector(".pane", state="attached")
    assert not [url for url in asked if "%C3%BC" in url or "prompt" in url]
    page.fill("#eft-prompt", long)
    assert "%C3%BC" in open_share(page)
    assert "some chat" in page.locator("[data-part=link-note]").inner_text()


def test_a_run_is_saved_in_four_ways_and_opened_again(site: Site, tmp_path: Path) -> None:
    page = site.open()
    press(page, "[data-part=share]")
    assert page.locator("[data-part=formats] button:enabled").count() == 0
    assert page.locator("[data-part=no-run]").is_visible()
    page.keyboard.press("Escape")
    run(page, "Hello <b>Peru</b> 🙂")
    page.wait_for_selector(".t")
    wait_end(page)
    saved = {}
    open_share(page)
    for button in page.locator("[data-part=formats] button").all():
        with page.expect_download() as download:
            button.press("Enter")
        name = download.value.suggested_filename
        download.value.save_as(tmp_path / name)
        saved[name] = (tmp_path / name).read_text(encoding="utf-8")
    name = "eft-hello-b-peru-b"
    assert list(saved) == [f"{name}.{kind}" for kind in ("html", "json", "csv", "md")]
    assert "Hello <b>Peru</b> 🙂" in saved[f"{name}.md"]
    page.keyboard.press("Escape")

    at_once(page)
    open_file(page, tmp_path / f"{name}.json")
    page.wait_for_selector("[data-part=replay]:not([hidden])")
    wait_replay(page)
    assert texts(page) == ["Hello <b>Peru</b> 🙂"] * 3
    assert page.locator("[data-part=replay-title]").inner_text() == f"{name}.json"
    assert page.locator("[data-part=replay-prompt]").inner_text() == "Hello <b>Peru</b> 🙂"
    open_share(page)  # what was opened can be saved again
    with page.expect_download() as download:
        page.locator("[data-part=formats] button").nth(1).press("Enter")
    download.value.save_as(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text(encoding="utf-8") == saved[f"{name}.json"]


def test_a_column_with_another_seed_is_saved_with_the_others_and_opened_again(
    site: Site, tmp_path: Path
) -> None:
    page = site.open()
    run(page, "abcdef")
    page.wait_for_selector(".t")
    wait_end(page)
    page.locator(".pane .t").first.focus()
    page.keyboard.press("r")
    page.wait_for_function("document.querySelectorAll('.node').length === 2")
    wait_end(page)
    shown = texts(page)
    save_json(page, tmp_path / "eft-run.json")
    trace = open_run((tmp_path / "eft-run.json").read_bytes())
    assert [seed_of(column, trace.spec) for column in trace.columns] == [1, 0, 0]
    at_once(page)
    open_file(page, tmp_path / "eft-run.json")
    page.wait_for_selector("[data-part=replay]:not([hidden])")
    wait_replay(page)
    assert texts(page) == shown and len(shown) == 3


def test_a_recorded_run_is_played_paused_and_stepped(site: Site) -> None:
    page = site.open()
    press(page, "[data-part=open]")
    offers = page.locator("[data-part=gallery] button")
    assert offers.count() == len(GALLERY)
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = '0.5×'; }")
    offers.nth(6).press("Enter")
    page.wait_for_function("document.activeElement.dataset.part === 'replay-play'")
    page.wait_for_function(PAUSE_EARLY)
    at = page.locator("[data-part=replay-at]").inner_text()
    assert page.locator("[data-part=replay-play]").inner_text() == "Play"
    assert stays(page, "[data-part=replay-at]")
    assert page.locator("[data-part=replay-at]").inner_text() == at
    press(page, "[data-part=replay-step]")
    now = int(at.split()[1]) + 1
    assert page.locator("[data-part=replay-at]").inner_text().startswith(f"token {now} of {max(LENGTHS)}")
    assert [page.locator(".pane .text").nth(p).locator(".t").count() for p in range(3)] == [
        min(now, length) for length in LENGTHS
    ]
    page.select_option("[data-part=replay-speed]", "8×")
    press(page, "[data-part=replay-play]")
    wait_replay(page)
    assert texts(page) == [column["text"] for column in RECORDED["columns"]]
    # It is inspected like any other run.
    page.locator(".pane .t").first.focus()
    page.keyboard.press("End")
    assert f"token {LENGTHS[0]} of {LENGTHS[0]}" in page.locator("[data-part=card-title]").inner_text()
    press(page, "[data-part=replay-play]")  # again, from the beginning
    page.wait_for_function("n => document.querySelectorAll('.t').length < n", arg=sum(LENGTHS))
    wait_replay(page)
    assert texts(page) == [column["text"] for column in RECORDED["columns"]]
    run(page, "my own")
    page.wait_for_selector("[data-part=replay]", state="hidden")
    wait_end(page)
    assert texts(page) == ["my own"] * 3


def test_an_opened_run_of_the_loaded_family_can_be_continued(site: Site, tmp_path: Path) -> None:
    page = site.open()
    run(page, "abcdef")
    page.wait_for_selector(".t")
    wait_end(page)
    before = texts(page)
    save_json(page, tmp_path / "run.json")
    page.fill("#eft-prompt", "")
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = '0.5×'; }")
    open_file(page, tmp_path / "run.json")
    page.wait_for_selector("[data-part=replay]:not([hidden])")
    page.wait_for_function("document.querySelectorAll('.pane.up .t').length > 1")  # still being replayed
    page.locator(".pane.up .t").nth(1).press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.node').length === 3")
    wait_end(page)
    after = texts(page)
    assert after[:2] == before[:2] and after[2] != before[2] and after[2].startswith("a")
    assert page.locator("[data-part=replay-prompt]").inner_text() == "abcdef"  # whose branch this is
    assert page.locator("[data-part=replay-play]").is_hidden()
    page.keyboard.press("Control+z")
    assert texts(page) == before
    page.locator("[data-part=mode-same]").press("Space")
    page.wait_for_function("document.querySelector('.eft').classList.contains('same-text')")
    wait_end(page)
    assert texts(page) == before[2:] * 3
    at_once(page)
    press(page, "[data-part=open]")
    page.locator("[data-part=gallery] button").nth(6).press("Enter")  # recorded by Atlas, and Echo is loaded
    page.wait_for_selector("[data-part=replay-title]:text('Two behaviours at once')")
    wait_replay(page)
    page.locator(".pane.up .t").first.press("r")
    page.wait_for_selector("[data-error=branch]:not([hidden])")
    assert (
        "it is of the family 'atlas', and Echo is loaded." in page.locator("[data-error=branch]").inner_text()
    )


def test_a_file_made_with_other_versions_names_the_differences(site: Site, tmp_path: Path) -> None:
    page = site.open()
    run(page, "abc")
    page.wait_for_selector(".t")
    wait_end(page)
    save_json(page, tmp_path / "run.json")
    document = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    at_once(page)
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({}, None),
        (
            {"made_with": {**document["made_with"], "torch": "1.0<b>"}},
            "made with torch 1.0<b>; here it is torch",
        ),
        ({"made_with": None, "pieces": {}, "family": "x"}, "does not contain the texts"),
    ]
    for number, (changes, words) in enumerate(cases):
        path = tmp_path / f"other-{number}.json"
        path.write_text(json.dumps(document | changes), encoding="utf-8")
        open_file(page, path)
        page.wait_for_selector(f"[data-part=replay-title]:text('{path.name}')")
        wait_replay(page)
        notes = page.locator("[data-part=replay-notes]")
        assert notes.is_hidden() if words is None else words in notes.inner_text()


def test_opening_a_recorded_run_ends_the_current_run(site: Site) -> None:
    page = site.open()
    run(page, "chant")
    page.wait_for_selector(".t")
    at_once(page)
    press(page, "[data-part=open]")
    page.locator("[data-part=gallery] button").nth(6).press("Enter")
    wait_replay(page)
    assert page.locator("[data-part=stop]").is_disabled()
    assert stays(page, ".pane.up .text")
    assert texts(page) == [column["text"] for column in RECORDED["columns"]]


def test_a_file_that_is_not_a_run_gets_an_error_message_in_the_dialog(site: Site, tmp_path: Path) -> None:
    whole = json.dumps(RECORDED)
    files = {
        "old.json": ('{"version": 1}', "got 1"),
        "cut.json": (whole[:5000], "not valid JSON"),
        "type.json": (
            whole.replace('"prompt": "', '"prompt": ["', 1).replace('?", "sam', '?"], "sam', 1),
            "prompt",
        ),
        "huge.json": ("x" * (replays.MAX_FILE_BYTES + 1), "4,000,000 bytes; huge.json has 4,000,001"),
        "image.json": ("\0\x01\ufffd" * 9, "not valid JSON"),
    }
    page = site.open()
    for name, (text, words) in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        open_file(page, tmp_path / name)
        page.wait_for_function(
            "words => document.querySelector('[data-part=open-error]').textContent.includes(words)", arg=words
        )
        assert page.locator("[data-part=open-error]").is_visible()
    assert page.locator(".t").count() == 0 and page.locator("[data-part=replay]").is_hidden()
