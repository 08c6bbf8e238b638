"""Text as a cell that every spreadsheet leaves as it is, and back.

Spreadsheets compute what looks like a formula, and make numbers, dates and truth values of whatever looks
like one in their language. Such a text gets a ' in front, and so does a text that begins with one: whoever
reads the file takes one leading ' away. Control characters, which cells hide, are shown. Knows no runs.
"""

import re
import unicodedata

from eft_demo.runs.text import show_controls

QUOTE = "'"
# What begins a formula or a command, in both widths of East Asian keyboards; # begins an error value.
_STARTS = tuple("=+-@|%#\u2212＝＋－＠")
# True and false in the languages of spreadsheets; and what tables of numbers read as no value.
_WORDS = frozenset(
    "true false wahr falsch vrai faux verdadero falso vero waar onwaar verdadeiro sant falskt sand falsk "
    "sann usann tosi epätosi prawda fałsz pravda nepravda истина ложь doğru yanliş igaz hamis adevărat fals "
    "真 假 na n/a nan null none nil inf infinity".split()
)
# A number, a date or a time has few words and signs: 1e5, MARCH1, 12 am, Mon, 5 May 2020, 2026年5月3日.
_MOST_WORDS, _MOST_CHARS = 4, 40
_SIGNS = frozenset(".,:/⁄'’·°-–−()%‰+\u200c\u200d")  # and those of currencies
_LETTERS = re.compile(r"[^\W\d_]+")


def plain_cell(text: str) -> str:
    """`text` with a ' in front if a spreadsheet would make something else of it, control characters shown."""
    clean = show_controls(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return QUOTE + clean if clean.startswith(QUOTE) or _reads_as_other(clean) else clean


def read_cell(cell: str) -> str:
    """The text of a cell that `plain_cell` wrote, its control characters still as they are shown."""
    return cell.removeprefix(QUOTE)


def _reads_as_other(text: str) -> bool:
    # Spaces around a number do not keep it from being one, nor do full-width digits.
    core = unicodedata.normalize("NFKC", text).strip().casefold()
    if core.startswith(_STARTS) or text.strip().startswith(_STARTS) or core in _WORDS:
        return True
    if len(core) > _MOST_CHARS or len(_LETTERS.findall(core)) > _MOST_WORDS:
        return False
    return any(sign.isnumeric() for sign in core) and all(map(_may_stand_in_a_number, core))


def _may_stand_in_a_number(sign: str) -> bool:
    return sign.isalnum() or sign.isspace() or sign in _SIGNS or unicodedata.category(sign) in ("Sc", "Mn")
