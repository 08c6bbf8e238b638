"""QR codes for the page, as the outline of their modules. The page draws it; no markup is sent.

Knows segno; knows nothing of what the text means.
"""

import json
from collections.abc import Mapping

import segno

from eft_demo.errors import EFTError, InputError
from eft_demo.settings import show_value

MAX_CHARS = 800  # with more, the squares are too small to read across a room


def draw_qr(posted: object) -> str:
    """JSON {"size", "rows"} for {"text"}: rows of 0 and 1, without the quiet zone; or {"error"}."""
    text = posted.get("text") if isinstance(posted, Mapping) else None
    try:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_CHARS:
            raise InputError(
                f"A QR code needs a text of 1 to {MAX_CHARS} characters; got {show_value(text)}.", code="qr"
            )
        rows = ["".join(map(str, row)) for row in segno.make_qr(text, error="m").matrix]
    except EFTError as refusal:
        return json.dumps({"error": str(refusal)})
    return json.dumps({"size": len(rows), "rows": rows})
