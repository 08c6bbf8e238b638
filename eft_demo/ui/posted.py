"""What the page posts and is answered: untrusted JSON in, and how a server function refuses it.

Knows the two forms; knows no fields. Each server function checks the fields that it reads.
"""

import json
from collections.abc import Mapping

from eft_demo.errors import EFTError


def fields_of(posted: object) -> Mapping[str, object]:
    """The fields of a posted object; none if something else was posted."""
    return posted if isinstance(posted, Mapping) else {}


def error_json(refusal: EFTError) -> str:
    """The answer of a server function that refuses: {"error": the message}."""
    return json.dumps({"error": str(refusal)})
