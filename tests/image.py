"""Runs the Dockerfile's steps in a clean folder, without a container engine but with the same uid 1000.

Knows the instructions that our Dockerfile uses and fails on any other. The folder represents the image's `/`;
`/home/user` in commands and variables is replaced by the folder's.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

HOME = "/home/user"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(INSTRUCTION, arguments as one line) without comments, with continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, " ".join(rest.split()) if name != "HEALTHCHECK" else rest.strip()


def ignored(path: str, rules: str) -> bool:
    """Whether .dockerignore excludes `path`: the last rule that matches it or a parent decides."""
    parents = [str(p) for p in [Path(path), *Path(path).parents[:-1]]]
    verdict = False
    for rule in rules.splitlines():
        pattern = rule.strip().removeprefix("!")
        if pattern and not pattern.startswith("#"):
            anywhere = pattern.startswith("**/")
            names = [Path(p).name for p in parents] if anywhere else parents
            if any(fnmatch(name, pattern.removeprefix("**/")) for name in names):
                verdict = not rule.startswith("!")
    return verdict


@dataclass
class Image:
    """A folder in which the steps run. Root becomes uid 1000 at `USER 1000`; other users stay the same."""

    folder: Path
    context: Path
    python: Path  # a Python that uid 1000 may run
    packages: Path  # already installed packages, so that pip need not install them again
    env: dict[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    uid: int = 0
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        tools = self.folder / "usr" / "local" / "bin"
        tools.mkdir(parents=True)
        (tools / "python").symlink_to(self.python)
        (self.folder / "etc").mkdir()
        (self.folder / "home").mkdir()
        for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid"):
            (self.folder / "etc" / name).touch()
        self.env = {"PATH": f"{tools}:/usr/sbin:/usr/bin:/bin", "PYTHONPATH": str(self.packages)}
        self.cwd = self.folder

    def build(self) -> None:
        """Run every step. Raises CalledProcessError if a command fails."""
        for name, rest in instructions((self.context / "Dockerfile").read_text(encoding="utf-8")):
            getattr(self, f"do_{name.lower()}")(rest)

    def inside(self, text: str) -> str:
        """`text` with the image's home folder replaced by the real one."""
        return text.replace(HOME, str(self.folder) + HOME)

    def run(self, command: list[str], **changes: str) -> "subprocess.Popen[str]":
        """Start a command as the image's user, with only the image's variables."""
        who = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        return subprocess.Popen(
            [*(who if os.getuid() == 0 else []), *command],
            cwd=self.cwd,
            env={**self.env, **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def do_from(self, rest: str) -> None:
        assert re.fullmatch(r"python:3\.\d+-slim", rest)

    def do_arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self.env[name] = value

    def do_env(self, rest: str) -> None:
        for name, value in (pair.split("=", 1) for pair in rest.split()):
            self.env[name] = re.sub(r"\$(\w+)", lambda m: self.env[m[1]], self.inside(value))

    def do_user(self, rest: str) -> None:
        self.uid = int(rest)

    def do_workdir(self, rest: str) -> None:
        self.cwd = Path(self.inside(rest))
        self.cwd.mkdir(parents=True, exist_ok=True)
        self.own(self.cwd)

    def do_run(self, rest: str) -> None:
        if rest.startswith("useradd "):  # into the folder's own /etc; whoever is not root stays who he is
            if os.getuid():
                (self.folder / HOME[1:]).mkdir()
                return
            rest = rest.replace("useradd ", f"useradd --prefix {self.folder} ")
        step = self.run(["sh", "-euc", self.inside(rest)])
        output, _ = step.communicate(timeout=600)
        if step.returncode:
            raise subprocess.CalledProcessError(step.returncode, rest, output)

    def do_copy(self, rest: str) -> None:
        assert rest.startswith("--chown=1000 ")
        *sources, target = rest.split()[1:]
        rules = (self.context / ".dockerignore").read_text(encoding="utf-8")
        for source in sources:
            top = self.context / source
            for path in [p for p in top.rglob("*") if p.is_file()] if top.is_dir() else [top]:
                name = str(path.relative_to(self.context))
                if not ignored(name, rules):
                    inner = path.relative_to(top) if top.is_dir() else path.name
                    place = self.cwd / target / inner
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, place)
        for path in [self.cwd, *self.cwd.rglob("*")]:
            self.own(path)

    def own(self, path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, self.uid, self.uid)

    def do_expose(self, rest: str) -> None:
        assert rest == self.env["EFT_PORT"]

    def do_healthcheck(self, rest: str) -> None:
        self.healthcheck = json.loads(rest.split("CMD", 1)[1])

    def do_entrypoint(self, rest: str) -> None:
        self.entrypoint = json.loads(rest)
