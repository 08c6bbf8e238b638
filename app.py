"""Start EFT Demo: settings -> service -> page -> launch. `from app import demo` is the page, not launched."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError
from eft_demo.settings import Settings
from eft_demo.ui.layout import Page, build_demo
from eft_demo.ui.server import launch


def start(
    host: Annotated[str | None, typer.Option(help="Where to listen; 0.0.0.0 is for everybody.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; if it is taken, the next free one.")] = None,
    family: Annotated[str, typer.Option(help="Family of models in assets/.")] = "atlas",
) -> None:
    """Start the app and serve its page until Ctrl+C."""
    try:
        settings = Settings.from_env()
        settings = replace(settings, host=host or settings.host, port=settings.port if port is None else port)
        launch(build_demo(Service.load(settings, family), settings), settings)
    except EFTError as error:
        sys.exit(f"EFT Demo cannot start. {error}")


def __getattr__(name: str) -> Page:
    """`demo`, built when first asked for, so that importing this module costs and starts nothing."""
    if name != "demo":
        raise AttributeError(name)
    settings = Settings.from_env()
    globals()["demo"] = page = build_demo(Service.load(settings, "atlas"), settings)
    return page


if __name__ == "__main__":
    typer.run(start)
