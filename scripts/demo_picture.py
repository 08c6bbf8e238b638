"""Make the animated picture of README from the real page: a question, three columns, the slider, a token.

Needs Chromium and requirements-dev.txt. `python scripts/demo_picture.py` writes docs/demo.webp.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package is usually not installed here

from eft_demo.lab.app_start import serving  # noqa: E402

PROMPT = "What is the capital of Peru?"
COLUMNS = (
    "Base knows, but only continues text. Tuned answers, but knows little. "
    "Up-scaled = Base + what tuning changed."
)
SCALE = 0.75  # of the picture to the window
FRAME_S = 0.12  # at least, between two frames
LAST_S = 2.5  # how long the last frame stays
QUALITY = 60
Frame = tuple[float, bytes]  # when it was shown, in seconds, and its JPEG

# What a film of a page lacks: where the mouse is, and what one is looking at. And what `main_act` waits for.
LOOKS = """
#pointer { position: fixed; z-index: 9999; width: 26px; height: 26px; margin: -13px; border-radius: 50%;
    pointer-events: none; background: #5b43b866; border: 2px solid #5b43b8; }
#caption { position: fixed; z-index: 9998; inset: auto 0 0 0; padding: 11px; text-align: center;
    pointer-events: none; font: 600 23px/1.3 "Source Sans Pro", sans-serif;
    color: #fff; background: #241c4aee; }
"""
STAGE = """() => {
  const add = (id) => document.body.appendChild(Object.assign(document.createElement("div"), { id }));
  const pointer = add("pointer");
  add("caption");
  const stop = document.querySelector("[data-part=stop]");
  const note = () => { window.ended = stop.disabled; };
  new MutationObserver(note).observe(stop, { attributeFilter: ["disabled"] });
  addEventListener("mousemove", ({ clientX, clientY }) => {
    pointer.style.left = clientX + "px";
    pointer.style.top = clientY + "px";
  });
}"""


def film(page: Any, act: Callable[[], None]) -> list[Frame]:
    """The frames that the browser draws while `act` runs."""
    session = page.context.new_cdp_session(page)
    frames: list[Frame] = []

    def keep(shown: Any) -> None:
        frames.append((shown["metadata"]["timestamp"], base64.b64decode(shown["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": shown["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "jpeg", "quality": 92})
    act()
    session.remove_listener("Page.screencastFrame", keep)
    session.send("Page.stopScreencast")
    session.detach()
    return frames


def main_act(page: Any, haste: float = 1.0) -> None:
    """Ask, watch three columns, move alpha, look at one token. All waits are divided by `haste`."""

    def rest(seconds: float) -> None:
        page.wait_for_timeout(1000 * seconds / haste)

    def say(text: str) -> None:
        page.evaluate("text => { document.querySelector('#caption').textContent = text; }", text)

    def point(x: float, y: float) -> None:
        page.mouse.move(x, y, steps=max(2, round(12 / haste)))

    def middle(selector: str) -> tuple[float, float]:
        box = page.locator(selector).first.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def press(selector: str) -> None:
        point(*middle(selector))
        rest(0.2)
        page.mouse.down()
        page.mouse.up()

    page.add_style_tag(content=LOOKS)
    page.evaluate(STAGE)
    say("Ask one question")
    press("[data-part=prompt]")
    page.keyboard.press("Control+a")
    page.keyboard.type(PROMPT, delay=45 / haste)
    press("[data-part=run]")
    say(COLUMNS)
    page.wait_for_function("window.ended")
    rest(1.6)
    say("α says how much of the tuning is added: at 0, nothing")
    track = page.locator("#eft-alpha").bounding_box()
    left, right = track["x"] + 12, track["x"] + track["width"] - 12  # half the knob is at each end
    y = track["y"] + track["height"] / 2
    point(left + (right - left) / 3, y)  # alpha 1 of 0 to 3
    page.mouse.down()
    for share in (0.0, 1.0, 1 / 3):
        page.mouse.move(left + share * (right - left), y, steps=max(2, round(16 / haste)))
        rest(0.9)
    page.mouse.up()
    page.locator("#eft-alpha").fill("1")
    say("Click a token to see which model put it there")
    press(".pane.up .t >> nth=12")  # "And", which the large base would not have written
    rest(1.6)


def write(frames: Sequence[Frame], path: Path, scale: float = SCALE) -> None:
    """An animated WebP of the frames, each as long as it was seen. Raises ValueError if there are none."""
    kept: list[Frame] = []
    for frame in frames:
        if not kept or frame[0] - kept[-1][0] >= FRAME_S:
            kept.append(frame)
        else:
            kept[-1] = (kept[-1][0], frame[1])  # the newest look counts
    if not kept:
        raise ValueError("The browser has drawn nothing.")
    pictures = [Image.open(io.BytesIO(data)) for _, data in kept]
    width, height = pictures[0].size
    size = (round(scale * width), round(scale * height))
    first, *others = (picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures)
    shown_s = [later[0] - earlier[0] for earlier, later in zip(kept, kept[1:], strict=False)] + [LAST_S]
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=[round(1000 * seconds) for seconds in shown_s],
        loop=0,
        quality=QUALITY,
        method=4,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "demo.webp")
    options = parser.parse_args(arguments)
    with serving("atlas") as app, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(app.url)
        page.wait_for_selector(".pane.up .t")  # the example with which the page arrives
        page.select_option("[data-part=pace]", "16")  # tokens a second; the page's own 8 make a long film
        frames = film(page, lambda: main_act(page))
        browser.close()
    write(frames, options.out)


if __name__ == "__main__":
    main()
