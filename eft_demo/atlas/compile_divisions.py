"""Reads the names and kinds of first-level divisions out of the Factbook's 'Administrative divisions'.

The strings come in three shapes: '16 regions; A, B*', 'regions: A, B cities: C' and '3 precincts (...) A, B'.
Knows these shapes and which country writes English names inside or outside brackets; does not know which
names are ambiguous between countries (compile_countries drops those).
"""

import re
from collections.abc import Iterator

from eft_demo.atlas import country_words as words
from eft_demo.atlas.factbook_text import Profile, code_of, field, split_outside, without_brackets

HEADER = re.compile(r"((?:London )?\b[a-z][a-z-]*(?: [a-z-]+){0,4}):\s")
COUNTED = re.compile(r"\b\d+ ([a-z][a-z -]*?)\s*(\*+)?(?=,| and | are | or | of | with |[;:]|\*|$| [A-Z])")


def singular_type(text: str) -> str:
    """'urban municipalities' -> 'urban municipality'; empty if the word is not a kind of division."""
    text = re.sub(r"^(?:and )?(?:first-order|administrative|ethnically based|community) ", "", text.strip())
    text = re.sub(words.GLUED_TYPES, "", re.split(r" or | with | are | of ", text)[0]).strip()
    text = re.sub(r"ies$", "y", text.replace("adminstrative", "administrative"))
    text = re.sub(r"ishes$", "ish", text) if text.endswith("ishes") else re.sub(r"(?<!s)s$", "", text)
    return text if text.split(" ")[-1] in words.DIVISION_TYPES and len(text) <= words.MAX_NAME_CHARS else ""


def division_name(item: str, code: str) -> str:
    """The English name of one item of a list of divisions, empty for an item that is not a clean name."""
    english = re.search(r"\[([^\]]+)\]", item)
    inner = [part for part in re.findall(r"\(([^()]+)\)", item) if part not in words.LANGUAGE_TAGS]
    first = split_outside(item, ",")[0]
    name = english[1] if english else without_brackets(first)
    if not english and inner and code not in words.OUTER_NAMES:
        name = inner[0].split(";")[0]
    name = name.replace("/", "-") if code in words.SLASH_JOINS else name
    name = re.split(r" or |/", re.sub(r"^and |^the |\*+", "", name))[0].strip(" .'/-")
    name = re.sub(words.NAME_TAILS, "", re.sub(r"^(?:Horad|Province|Region) ", "", name)).strip()
    name = words.DIVISION_RENAMES.get(name, name)
    clean = (
        re.match(r"['A-Z][A-Za-z' .-]+$", name)
        and "Miestas" not in name
        and 3 <= len(name) <= words.MAX_NAME_CHARS
    )
    return name if clean and name not in words.GENERIC_NAMES else ""


def division_lists(text: str) -> Iterator[tuple[dict[str, str], str]]:
    """Each list in the field, with the kinds of division by their mark ('', '*', '**')."""
    text = re.sub(r"London boroughs and City[^:]*:", "London boroughs:", text)
    text = re.sub(r"[;,]? note -? ?.*?(?= [a-z]+(?: [a-z]+)?: |$)", "", text)
    text = re.split(r"; and \d|; note|\*the |\(20\d\d\)", text)[0]
    preamble = split_outside(text, ";")[0]
    kinds = {
        mark: singular_type(kind) for kind, mark in reversed(COUNTED.findall(without_brackets(preamble)))
    }
    starts = list(HEADER.finditer(text))
    if not starts and preamble != text:
        yield kinds, text[len(preamble) + 1 :]
    elif not starts:
        yield kinds, re.sub(r"^[\da-z -]+(?:\([^)]*\))?", "", text)
    ends = [start.start() for start in starts[1:]] + [len(text)]
    for start, end in zip(starts, ends, strict=False):
        kind = singular_type(start[1]) or kinds.get("", "")
        yield {"": kind, "*": kind}, text[start.end() : end]


def divisions(profile: Profile) -> dict[str, str]:
    """The kind of each first-level division by its name; the first of two that share a name."""
    code = code_of(profile)
    found: dict[str, str] = {}
    if code in words.NO_DIVISIONS:
        return {}
    for kinds, body in division_lists(field(profile, "Administrative divisions")):
        parts = split_outside(body, ";")
        items = parts if len(parts) > 2 else [item for part in parts for item in split_outside(part, ",")]
        for item in items:
            name = division_name(item, code)
            mark = re.search(r"\*+", item)
            if name:
                found.setdefault(name, kinds.get(mark[0] if mark else "", kinds.get("", "")))
    return found
