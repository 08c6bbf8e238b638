"""The page's scripts, served as ES modules under a path that contains a hash of their contents.

Knows the files under assets/web and how long they may be cached; knows nothing of what they do.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from eft_demo.settings import ASSETS

WEB = ASSETS / "web"
LATER = "vendor/"  # what others wrote, which the page loads when it needs it
# Different contents have a different path, so no cache ever needs to revalidate.
FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules: path below assets/web -> contents, and a short hash of all of them."""

    files: Mapping[str, bytes]
    version: str


def read_modules(folder: Path = WEB) -> Modules:
    """Every module of the page, without their tests."""
    found = sorted(path for path in folder.rglob("*.js") if not path.name.endswith(".test.js"))
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    whole = hashlib.sha256()
    for name, content in files.items():
        whole.update(f"{name} {len(content)}\n".encode() + content)
    return Modules(files, whole.hexdigest()[:16])


@cache
def page_modules() -> Modules:
    """The modules of this process, so that the page's paths always match what is served."""
    return read_modules()


def module_route(modules: Modules) -> Route:
    """GET /eft/web/VERSION/MOUNT/PATH. Only files read at the start exist, whatever the path says."""

    def serve(request: Request) -> Response:
        path = request.path_params
        content = modules.files.get(path["name"]) if path["version"] == modules.version else None
        if content is None:
            missing = "This version of the page has no such module. Please reload the page."
            return PlainTextResponse(missing, status_code=404, headers={"Cache-Control": "no-store"})
        return Response(content, media_type="text/javascript", headers={"Cache-Control": FOR_GOOD})

    return Route("/eft/web/{version}/{mount:int}/{name:path}", serve)
