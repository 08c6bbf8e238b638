"""Text as a spreadsheet cell that no spreadsheet reinterprets, and back.

Spreadsheets evaluate texts that look like formulas and convert those that look like numbers, dates or
booleans in their language. Such a text gets a leading ', and so does a text that starts with one; readers
remove one leading '. Control characters, which cells hide, are made visible. Knows no runs.
"""

import re
import unicodedata

from eft_demo.runs.text import show_controls, without_surrogates

QUOTE = "'"
# Characters that start a formula, command or error value (#), in both widths of East Asian keyboards.
_STARTS = tuple("=+-@|%#\u2212＝＋－＠")
# True and false in the languages of spreadsheets, and words that data tools read as missing values.
_WORDS = frozenset(
    "true false wahr falsch vrai faux verdadero falso vero waar onwaar verdadeiro sant falskt sand falsk "
    "sann usann tosi epätosi prawda fałsz pravda nepravda истина ложь doğru yanliş igaz hamis adevărat fals "
    "真 假 na n/a nan null none nil inf infinity".split()
)
# A number, date or time has few words and characters: 1e5, MARCH1, 12 am, Mon, 5 May 2020, 2026年5月3日.
_MOST_WORDS, _MOST_CHARS = 4, 40
_SIGNS = frozenset(".,:/⁄'’·°-–−()%‰+\u200c\u200d")  # besides currency signs
_LETTERS = re.compile(r"[^\W\d_]+")


def plain_cell(text: str) -> str:
    """`text` with visible control characters, and a leading ' if a spreadsheet would convert it."""
    clean = show_controls(without_surrogates(text))
    return QUOTE + clean if clean.startswith(QUOTE) or _reads_as_other(clean) else clean


def read_cell(cell: str) -> str:
    """The text of a cell written by `plain_cell`; control characters stay in their visible form."""
    return cell.removeprefix(QUOTE)


def _reads_as_other(text: str) -> bool:
    # Spreadsheets also convert numbers with spaces around them or full-width digits.
    core = unicodedata.normalize("NFKC", text).strip().casefold()
    if core.startswith(_STARTS) or text.strip().startswith(_STARTS) or core in _WORDS:
        return True
    if len(core) > _MOST_CHARS or len(_LETTERS.findall(core)) > _MOST_WORDS:
        return False
    return any(sign.isnumeric() for sign in core) and all(map(_may_stand_in_a_number, core))


def _may_stand_in_a_number(sign: str) -> bool:
    return sign.isalnum() or sign.isspace() or sign in _SIGNS or unicodedata.category(sign) in ("Sc", "Mn")
