"""Start EFT Demo: settings -> family -> page -> launch. `from app import demo` is the page, not launched."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Option, run

from eft_demo.errors import EFTError
from eft_demo.settings import Settings
from eft_demo.ui import layout, server


def start(
    host: Annotated[str | None, Option(help="Where to listen; 0.0.0.0 is for everybody.")] = None,
    port: Annotated[int | None, Option(help="Port; if it is taken, the next free one.")] = None,
    family: Annotated[str | None, Option(help="Family of models, such as qwen2.5.")] = None,
    family_file: Annotated[Path | None, Option(help="A family file of your own.")] = None,
    quant: Annotated[str | None, Option("--quant", "--quantisation", help="none, int8, nf4, fp4")] = None,
    root_path: Annotated[str | None, Option(help="Path under which a proxy leads here.")] = None,
) -> None:
    """Start the app and serve its page until Ctrl+C."""
    given = {"host": host, "port": port, "quantisation": quant, "root_path": root_path}
    given |= {"family": str(family_file or family or "")}
    try:
        settings = replace(Settings.from_env(), **{k: v for k, v in given.items() if v not in (None, "")})
        server.launch(layout.open_page(settings), settings)
    except EFTError as error:
        raise SystemExit(f"EFT Demo cannot start. {error}") from None


def __getattr__(name: str) -> layout.Page:
    """`demo`, built when first asked for, so that importing this module costs and starts nothing."""
    if name == "demo":  # asked for only while it is not there
        return globals().setdefault(name, layout.open_page(Settings.from_env()))
    raise AttributeError(name)


if __name__ == "__main__":
    run(start)
