"""What can be asked of the bundled family: a file from which the page completes questions, and its summary.

Knows the facts that the bundled family was trained on; of other families nothing is known, and nothing is
claimed.
"""

import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eft_demo.atlas.askable import askable, kinds
from eft_demo.atlas.facts import load_facts
from eft_demo.families.family import Family
from eft_demo.settings import BUNDLED
from eft_demo.ui.web_modules import FOR_GOOD


def world_of(family: Family) -> dict[str, object] | None:
    """For the page's first line: number and kinds of the facts, and the path of the file. None: unknown."""
    if family.name != BUNDLED or not family.roles:
        return None
    version = hashlib.sha256(askable()).hexdigest()[:12]
    return {
        "family": family.name,
        "facts": len(load_facts()),
        "kinds": kinds(),
        "path": f"eft/askable.json?{version}",
    }


def askable_json(request: Request) -> Response:
    """The questions that can be asked, for any page of this version."""
    return Response(askable(), media_type="application/json", headers={"Cache-Control": FOR_GOOD})


route = Route("/eft/askable.json", askable_json)
