"""Names and values from an address that mail programs, chats or people may have altered.

Undoes what they do to links where it is unambiguous: HTML's &amp;, line breaks, double percent encoding,
invalid bytes. Does not interpret the values. Never raises.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

MAX_ROUNDS = 3  # of repeated encoding; more is not an accident
# Punctuation, quotation marks and brackets that end up at the end of a link, and sometimes at its start.
JUNK = "<>()[]{}\"'`´“”„‟‘’‚‛«»‹›*_,;:!?…|\\ "
_AMPERSAND = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+|\\u0026", re.IGNORECASE)
_COLON = re.compile(r"%(?:25)*3a", re.IGNORECASE)
_EQUALS = re.compile(r"%(?:25)*3d", re.IGNORECASE)
_LEADING = re.compile(r"(?:[?#/!&]|%(?:25)*(?:23|3f))+", re.IGNORECASE)
_JOINED = re.compile(r"(?:;|%(?:25)*26)(?=[a-z_]+(?:=|%(?:25)*3d))", re.IGNORECASE)
_MARKED = re.compile(r"\\(?=[!-/:-@\[-`{-~])")  # Markdown's backslash; our links encode theirs
_MAIL = re.compile(r"=3D", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d)[,'’٬ \u00a0\u202f](?=\d{3}(?!\d))")
_COMMA = re.compile(r"(?<![\d,])(\d*)[,٫](\d+)(?![\d,])")
_FIRST = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?![\w.,])")
_ENCODED = re.compile(r"%[0-9a-f]{2}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fields:
    """The values of each name in order, and the names with bytes that are not valid text."""

    values: dict[str, list[str]] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()


def read_fields(address: str, is_ours: Callable[[str], bool]) -> Fields:
    """The fields after # or ? in an address; with both, those after # if any of their names is ours."""
    text = re.sub(r"[\r\n\t]+ *", "", address).strip()
    for _ in range(MAX_ROUNDS):
        text = _AMPERSAND.sub("&", text)
    text = _MARKED.sub("", text.replace("\\u003d", "="))
    if text.count("=") == len(_MAIL.findall(text)):  # copied from the source of an email
        text = _MAIL.sub("=", text)
    before, mark, after = text.partition("#")
    if not mark:
        return _fields(before, is_ours)
    behind = _fields(after, is_ours)
    return behind if any(map(is_ours, behind.values)) else _fields(before, is_ours)


def without_invisible(value: str) -> str:
    """The text without invisible characters, which chats insert into long words."""
    return "".join(sign for sign in value if unicodedata.category(sign) != "Cf")


def trimmed(value: str) -> str:
    """Words or a number without surrounding marks or invisible characters, and with a plain minus."""
    bare = without_trailing_marks(" ".join(without_invisible(value).split()).lstrip(JUNK))
    return bare.translate({0x2212: "-", 0x2013: "-", 0x2011: "-"})


def without_trailing_marks(text: str, kept: str = "") -> str:
    """The text up to its last letter, digit or character of `kept`; our words and numbers all end so."""
    end = len(text)
    while end and text[end - 1] not in kept and unicodedata.category(text[end - 1])[0] in "PSZC":
        end -= 1
    return text[:end]


def numbers_in(value: str) -> list[str]:
    """Readings of a number in another notation, such as 1,5 or ١٫٥ or 1,234, or followed by text."""
    bare = "".join(_digit(sign) for sign in trimmed(value))
    whole = _THOUSANDS.sub("", bare)
    found = [bare, whole, _COMMA.sub(r"\1.\2", bare)]
    first = _FIRST.match(bare)
    return [*found, first.group()] if first else found


def _digit(sign: str) -> str:
    digit = unicodedata.decimal(sign, None)
    return unicodedata.normalize("NFKC", sign) if digit is None else str(digit)


def _fields(text: str, is_ours: Callable[[str], bool]) -> Fields:
    for _ in range(MAX_ROUNDS):
        if "=" in text or not _EQUALS.search(text):
            break
        text = unquote(text, errors="replace")
    text = text[found.end() :] if (found := _LEADING.match(text)) else text
    if "&" not in text:
        text = _JOINED.sub("&", text)
    pieces = [piece for piece in text.split("&") if piece]
    pairs = [_pair(piece, is_ours) for piece in pieces]
    for _ in range(MAX_ROUNDS):
        if not _is_encoded_twice(pairs):
            break
        pairs = [(name, _decode_twice(value), lost) for name, value, lost in pairs]
    values: dict[str, list[str]] = {}
    for name, value, _ in pairs:
        values.setdefault(name, []).append(value)
    unreadable = frozenset(name for name, _, lost in pairs if lost)
    return Fields(values, unreadable)


def _pair(piece: str, is_ours: Callable[[str], bool]) -> tuple[str, str, bool]:
    name, _, value = piece.partition("=")
    name = _AMPERSAND.sub("", "&" + unquote_plus(name, errors="replace")).lstrip("&")
    # A name may start with _, and Markdown escapes it with a backslash.
    name = name if is_ours(name) else name.replace("\\", "").strip(JUNK.replace("_", "")).lower()
    try:
        return name, unquote_plus(value, errors="surrogatepass"), False
    except UnicodeDecodeError:
        return name, unquote_plus(value, errors="replace"), True


def _decode_twice(value: str) -> str:
    try:
        return unquote_plus(value, errors="surrogatepass")
    except UnicodeDecodeError:
        return value


def _is_encoded_twice(pairs: list[tuple[str, str, bool]]) -> bool:
    """True if a column or format has only an encoded colon, or if a hand-made link's prompt has no space."""
    named = {name for name, _, _ in pairs}
    for name, value, _ in pairs:
        if name in ("column", "panel", "format") and ":" not in value and _COLON.search(value):
            return True
        by_hand = not named & {"temperature", "column", "panel", "format"}
        if name == "prompt" and by_hand and _ENCODED.search(value) and not re.search(r"\s", value):
            return True
    return False
