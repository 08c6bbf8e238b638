"""The page's scripts share one scope, so no two of them may give one name to two things."""

import re
from collections import Counter
from pathlib import Path

from eft_demo.settings import ASSETS
from eft_demo.ui.page import SCRIPTS

DECLARED = re.compile(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)


def test_no_name_is_declared_twice() -> None:
    texts = [(Path(ASSETS) / "ui" / name).read_text(encoding="utf-8") for name in SCRIPTS]
    names = Counter(name for text in texts for name in DECLARED.findall(text))
    assert [name for name, count in names.items() if count > 1] == []
