"""What can be asked about Atlas: one plain question per attribute, and the entities that have it.

Everything follows from the facts and their wordings, so new facts can be asked for at once. The page
completes questions from it and recognises a question that names nothing that Atlas has read about.
"""

import json
import re
from collections import Counter
from functools import cache

from eft_demo.atlas.facts import Fact, load_facts
from eft_demo.atlas.wording import named, sentence, wording

_PLAIN = re.compile(r"(What|Which|Who|Where|When|How) [^\"“]*\?")
MIN_NAME_CHARS = 3  # shorter names and values are also parts of common words


@cache
def askable() -> bytes:
    """JSON: `facts` (their number), `kinds`, `forms` with {e}, `values`, and `entities`.

    An entity is [name, name in a question or 0 if it is the same, [places of its forms...]].
    """
    facts = load_facts()
    places: dict[tuple[str, str], int] = {}
    forms: list[str] = []
    entities: dict[str, tuple[str, list[int]]] = {}
    for fact in facts:
        key = fact.kind, fact.attribute
        if key not in places:
            places[key] = len(forms)
            forms.append(plain_form(fact))
        if forms[places[key]]:
            entities.setdefault(fact.entity, (named(fact), []))[1].append(places[key])
    table = {
        "facts": len(facts),
        "kinds": kinds(),
        "forms": forms,
        "entities": [[name, said if said != name else 0, own] for name, (said, own) in entities.items()],
        "values": sorted({fact.value for fact in facts if _tells(fact.value)} - entities.keys()),
    }
    return json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()


def kinds() -> list[str]:
    """What the facts are about, most facts first: "country", "city", ..."""
    counts = Counter(fact.kind for fact in load_facts())
    return [kind.replace("_", " ") for kind, _ in counts.most_common()]


def plain_form(fact: Fact) -> str:
    """The plainest everyday question for the attribute, with {e} for the entity; "" if there is none."""
    heads = [head for head in wording(fact).heads if head.everyday]
    texts = [text for head in heads for slot, text in head.texts if slot == "D"]
    plain = [f"{sentence(text)}?" for text in texts if "'s" not in text]
    return min((text for text in plain if _PLAIN.fullmatch(text)), key=len, default="")


def _tells(value: str) -> bool:
    return len(value) >= MIN_NAME_CHARS and not re.search(r"\d|,| and ", value) and value[:1].isupper()
