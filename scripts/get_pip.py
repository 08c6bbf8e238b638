"""Put pip into a virtual environment made without it, from a package index and with nothing but Python.

Debian's python3 comes without ensurepip. Run by run.sh with the environment's own interpreter. Knows the
simple index format (PEP 503); does not know any other tool of this project.
"""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

WHEEL_LINK = re.compile(
    r'href="([^"]*/(pip-(\d+(?:\.\d+)+)-py3-none-any\.whl))(?:#sha256=([0-9a-f]{64}))?[^"]*"'
)


def newest(page: str) -> tuple[str, str, str]:
    """Return (link, file name, sha256 or "") of the newest release of pip that the index page lists."""
    found = [m.groups(default="") for m in WHEEL_LINK.finditer(page)]
    if not found:
        raise SystemExit("The package index lists no wheel of pip.")
    link, name, _, digest = max(found, key=lambda f: [int(part) for part in f[2].split(".")])
    return link, name, digest


def main() -> None:
    """Download pip, check it against the index's sha256, and let it install itself."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    with urllib.request.urlopen(index, timeout=30) as reply:
        link, name, digest = newest(reply.read().decode())
    with urllib.request.urlopen(urllib.parse.urljoin(index, link), timeout=120) as reply:
        wheel = reply.read()
    if digest and hashlib.sha256(wheel).hexdigest() != digest:
        raise SystemExit(f"{name} does not have the sha256 that the package index states.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(wheel)
        sys.path.insert(0, str(path))
        sys.argv = ["pip", "install", "--quiet", "--no-index", str(path)]
        runpy.run_module("pip", run_name="__main__")


if __name__ == "__main__":
    main()
