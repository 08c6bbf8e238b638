"""A run, or a worksheet made from it, as one HTML page that needs no network: the page's own modules draw it.

It contains the lines that the page gets, with texts from models and people as data, never as markup or
script. Knows traces, the wire format and the page's assets; knows no models and no Gradio.
"""

import json
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from eft_demo.runs.settings_text import made_with_text, settings_of
from eft_demo.runs.trace import RunTrace
from eft_demo.settings import ASSETS
from eft_demo.ui import stream as wire
from eft_demo.ui.bundle import bundle, source_hash

EXPORT = ASSETS / "export"


def to_html(
    run: RunTrace,
    allow_negative_alpha: bool = False,
    captions: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """One page with the texts, their colours and their cards. Its one script and its one style have hashes.

    It contains the run as JSON. `allow_negative_alpha` says whether the page's sliders went below 0; the
    cards depend on it. `captions` are those of the run's family.
    """
    style = _read("../ui/style.css") + _read("page.css")
    return _filled("page", "A run of EFT Demo", style, run, allow_negative_alpha, captions)


def to_worksheet(run: RunTrace, captions: Mapping[str, str] = MappingProxyType({})) -> str:
    """A page to print: the text with blanks and the numbers to find, then the answers on another sheet."""
    return _filled("worksheet", "A worksheet of EFT Demo", _read("worksheet.css"), run, False, captions)


def _filled(
    name: str, title: str, style: str, run: RunTrace, negative: bool, captions: Mapping[str, str]
) -> str:
    """The frame of saved pages with the body, the script and the data of this one."""
    data = {
        "rules": wire.rules(negative),
        "details": " · ".join(_details(run)),
        "lines": [json.loads(line) for line in wire.trace_lines(run, captions=captions)],
    }
    script = bundle(EXPORT / f"{name}.js")
    page = _read("frame.html").replace("{title}", title).replace("{body}", _read(f"{name}.html"))
    # Replaced one after the other, the data last: nothing in it is ever looked at again.
    page = page.replace("{style_hash}", source_hash(style)).replace("{script_hash}", source_hash(script))
    page = page.replace("{style}", style).replace("{script}", script)
    return page.replace("{data}", json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))


def _details(run: RunTrace) -> list[str]:
    quoted = partial(json.dumps, ensure_ascii=False)
    shown = [
        f"{role.replace('_', ' ')} had its own prompt format ({own.kind}): {quoted(own.text)}"
        for role, own in run.spec.formats.items()
    ]
    shown += [f"system prompt: {quoted(run.spec.system)}"] if run.spec.system else []
    return [*settings_of(run), *shown, made_with_text(run)]


def _read(name: str) -> str:
    return (EXPORT / name).read_text(encoding="utf-8")
