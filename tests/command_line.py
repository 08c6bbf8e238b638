"""The command line, run in the process of the test."""

import sys

import pytest

from eft_demo import cli


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run `python -m eft_demo` with these arguments, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["eft_demo", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)
