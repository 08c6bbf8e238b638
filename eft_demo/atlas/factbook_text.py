"""Parses the Factbook's raw strings: ASCII folding, lists, brackets, rounded numbers.

Knows the Factbook's punctuation; does not know what a field means.
"""

import re
import unicodedata
from pathlib import Path
from typing import Any

from eft_demo.atlas.country_words import ODD_LETTERS

Profile = dict[str, Any]  # one country of the source: field name to a string or a dict of strings


def fold(text: str) -> str:
    """ASCII text: accents stripped, curly quotes and odd letters replaced, runs of spaces collapsed."""
    text = unicodedata.normalize("NFKD", text.translate(ODD_LETTERS))
    return re.sub(r"\s+", " ", text.encode("ascii", "ignore").decode()).strip()


def split_outside(text: str, marks: str) -> list[str]:
    """`text` split at each of `marks` outside brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([") - (char in ")]")
        if char in marks and depth <= 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def without_brackets(text: str) -> str:
    """`text` without (...) and [...], also nested ones."""
    before = ""
    while before != text:
        before, text = text, re.sub(r"\s*[(\[][^()\[\]]*[)\]]", "", text)
    return re.sub(r"\s*[(\[].*", "", text).strip()


def first_item(text: str) -> str:
    """The first item of a list, without brackets, shares and years."""
    item = split_outside(text, ",;")[0]
    return re.sub(r"\s*[\d<].*", "", without_brackets(item)).strip()


def two_digits(number: float) -> str:
    """`number` in words to two significant digits: 1.3 million, 28,000, 47."""
    rounded = float(f"{number:.1e}")
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if rounded >= size:
            return f"{float(f'{rounded / size:.1e}'):g} {name}"
    return f"{rounded:,.0f}"


def field(profile: Profile, name: str, part: str = "") -> str:
    """The folded text of a field, or of one part of it; empty if the source has none."""
    value = profile.get(name) or ""
    if isinstance(value, dict):
        value = value.get(part) or ""
    return fold(value)


def code_of(profile: Profile) -> str:
    """The two-letter GEC code, which is the profile's file name."""
    return Path(profile["file"]).stem
