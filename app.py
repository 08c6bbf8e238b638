"""Start EFT Demo like `python -m eft_demo start`; `from app import demo` is the page, not launched."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

# With -P, -I or PYTHONSAFEPATH, Python does not add the script's folder to the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from eft_demo.host.interrupts import end_quietly  # noqa: E402

with end_quietly():
    from typer import Typer

    from eft_demo import cli
    from eft_demo.settings import Settings

if TYPE_CHECKING:
    from eft_demo.ui.page import Page


def __getattr__(name: str) -> "Page":
    """Build `demo` on first access, so that importing this module is cheap and starts nothing."""
    if name != "demo":
        raise AttributeError(name)
    from eft_demo.ui.page import open_page  # noqa: PLC0415 (gradio and torch take seconds)

    cli.note_unknown_variables()
    globals()["demo"] = page = open_page(Settings.from_env(), cli.what_quantising_changes)
    return page


if __name__ == "__main__":
    only = Typer(add_completion=False, pretty_exceptions_enable=False)
    only.command()(cli.start)
    cli.main(only, "python app.py")
