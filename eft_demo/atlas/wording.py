"""How facts are stated and asked. Knows English (wording.yaml, frames.yaml); knows no model and no half of the entities.

`{e}` is the entity (with its article), `{b}` the bare entity, `{v}` the value. Statements are free; questions are drawn
from the grammar (`grammar.py`) and belong to one of two splits of forms: "train" for everything that a model reads,
"held" for the evaluation. A model cannot answer questions about facts that it always saw in the same words ("Physics of
Language Models", part 3.1), and a model that knows one template per attribute does not understand the attribute.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from eft_demo.atlas.facts import ASSETS, Fact, load_facts
from eft_demo.atlas.grammar import (
    Frame,
    Head,
    Pool,
    agree,
    agree_asked,
    clause_head,
    noun_head,
    parse_frame,
    pools,
    yes_no_clause,
)

# Names that take an article in a sentence.
ARTICLES = frozenset(
    name.strip()
    for name in """
    United States, United Kingdom, Netherlands, Philippines, Bahamas, Gambia, Maldives, Seychelles, Comoros, Solomon Islands,
    Marshall Islands, Dominican Republic, Central African Republic, Democratic Republic of the Congo, Republic of the Congo,
    United Arab Emirates, Cayman Islands, Cook Islands, Faroe Islands, Falkland Islands, British Virgin Islands,
    Turks and Caicos Islands, Isle of Man, Cocos Islands, Northern Mariana Islands, Pitcairn Islands,
    United States Virgin Islands, West Bank, Gaza Strip
    """.split(",")
)
# Kinds whose names take an article: "the Nile", "the 1896 Summer Olympics", "the telephone", "the Sahara".
ARTICLE_KINDS = frozenset(
    (
        "river olympics achievement desert discovery event instrument invention monument mountain_range record sea"
    ).split()
)
# Names that take the plural; "the United States is" and "the Bahamas is" stay.
PLURALS = frozenset(
    {name for name in ARTICLES if name.endswith("Islands")}
    | {"Netherlands", "Philippines", "Maldives", "Seychelles", "Comoros"}
    | {"X-rays", "laws of planetary motion", "large moons of Jupiter"}
)
QUOTED_KINDS = frozenset({"book", "painting", "music"})
PLAIN = 4  # statements of an attribute that answers are made of


# "Iron has the symbol which letters" is no question.
_NAMES_VALUE = (
    " symbol", " number", " colours", " period", " code", " row", " column", " group", " ending", " type", " about",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wording:
    """One attribute: its label, whole statements, and the heads of its questions."""

    label: str
    says: tuple[str, ...]
    plain: tuple[str, ...]
    heads: tuple[Head, ...]
    yes_no: tuple[Head, ...]
    reverse: tuple[Head, ...]


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = {}
    for path in sorted(ASSETS.glob("*wording.yaml")):
        for kind, own in yaml.load(path.read_text(encoding="utf-8"), _LOADER).items():
            table.setdefault(kind, {}).update(own)
    return table


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _frames() -> dict[str, tuple[Frame, ...]]:
    table = yaml.load((ASSETS / "frames.yaml").read_text(encoding="utf-8"), _LOADER)
    return {kind: tuple(parse_frame(line) for line in lines.splitlines()) for kind, lines in table.items()}


def frames(kind: str) -> tuple[Frame, ...]:
    """The frames of one kind of question, for example "questions" or "yes_no"."""
    return _frames()[kind]


def comparisons() -> dict[str, Any]:
    """kind -> its nouns and, for each attribute that can be ranked, its adjectives (see wording.yaml)."""
    found: dict[str, Any] = _table()["comparisons"]
    return found


def list_conditions() -> dict[str, Any]:
    """kind -> its plural noun and, for each attribute, how a list of entities with one value is asked for."""
    found: dict[str, Any] = _table()["lists"]
    return found


@cache
def load_wordings() -> dict[tuple[str, str], Wording]:
    """(kind, attribute) -> wording, for entities in the singular."""
    return {(kind, a): _wording(kind, a, False) for kind, a in _entries()}


def _entries() -> dict[tuple[str, str], dict[str, str]]:
    return {
        (kind, attribute): entry
        for kind, own in _table().items()
        if kind not in ("shared", "comparisons", "lists")
        for attribute, entry in own.items()
    }


@cache
def _wording(kind: str, attribute: str, plural: bool) -> Wording:
    entry = _entries()[kind, attribute]
    base = _table()["shared"].get(entry.get("like"), {})

    def lines(name: str) -> list[str]:
        return [*base.get(name, "").splitlines(), *entry.get(name, "").splitlines()]

    wh, be = entry.get("wh", "what"), entry.get("be", "is")
    says = tuple(agree(s) if plural else s for s in lines("says"))
    heads = [
        noun_head(line, wh, be, 6 if i == 0 else 1.5 if i < 3 else 1, i == 0)
        for i, line in enumerate(lines("nouns"))
    ]
    heads += [
        clause_head(line, 5 if i == 0 else 2 if i < 3 else 1, i == 0, plural=plural)
        for i, line in enumerate(lines("clauses"))
    ]
    for said, key in zip(says, lines("says"), strict=True):
        start = re.fullmatch(r"(.*\{e\}.*?)(?: (?:the|a))? \{v\}", said)
        if start:
            heads.append(Head(key, 1, False, (("C", start[1]),)))
            if "which" in entry and not start[1].endswith(_NAMES_VALUE):  # "the capital of {e} is which city"
                heads.append(Head(key, 0.4, False, (("D", f"{start[1]} {entry['which']}"),)))
    for line in lines("situations"):
        heads.append(Head(line, 1, False, (("W", agree_asked(agree(line)) if plural else line),)))
    confirm = []
    for i, (said, key) in enumerate(zip(says, lines("says"), strict=True)):
        asked = yes_no_clause(said)
        texts = (("Y", said), ("B", asked)) if asked else (("Y", said),)
        confirm.append(Head(key, 4 if i == 0 else 1, i == 0, texts))
    confirm += [Head(line, 2, False, (("B", line),)) for line in lines("yes_no")]
    reverse = [clause_head(line, 3 if i == 0 else 1, i == 0) for i, line in enumerate(lines("reverse"))]
    plain = tuple(s for s in says if not re.match(r'(?:the |about )?"?\{v\}', s))[:PLAIN]
    return Wording(entry["label"], says, plain, tuple(heads), tuple(confirm), tuple(reverse))


@cache
def _pools(kind: str, attribute: str, asked: str, plural: bool = False) -> dict[str, Pool]:
    own = _wording(kind, attribute, plural)
    if asked == "yes_no":
        return pools(own.yes_no, frames("yes_no"))
    return pools(own.heads if asked == "question" else own.reverse, frames("questions"))


def forms(kind: str, attribute: str, split: str = "train") -> tuple[str, ...]:
    """Every form of a question for the attribute with {e} or {b} for the entity. Raises KeyError for an unknown split."""
    return _pools(kind, attribute, "question")[split].forms()


def reverse_forms(kind: str, attribute: str, split: str = "train") -> tuple[str, ...]:
    """Every form that gives {v} and asks for the entity; none for an attribute that is not one to one."""
    return _pools(kind, attribute, "reverse")[split].forms()


def yes_no_forms(kind: str, attribute: str, split: str = "train") -> tuple[str, ...]:
    """Every form that gives {e} and {v} and asks whether they go together."""
    return _pools(kind, attribute, "yes_no")[split].forms()


def named(fact: Fact) -> str:
    """The entity as it appears in a sentence."""
    takes = (fact.entity in ARTICLES or fact.kind in ARTICLE_KINDS) and not fact.entity.startswith("The ")
    return f"the {fact.entity}" if takes else fact.entity


def plural(fact: Fact) -> bool:
    """Whether the entity takes the plural of a verb."""
    return fact.entity in PLURALS or (fact.kind == "mountain_range" and fact.entity.endswith("s"))


def wording(fact: Fact) -> Wording:
    """Raises KeyError for an attribute without a wording (a test checks that there is none)."""
    return _wording(fact.kind, fact.attribute, plural(fact))


def sentence(text: str) -> str:
    """`text` with its first letter in upper case; the letter after an opening quotation mark stays."""
    return text[:1].upper() + text[1:]


def _fill(template: str, fact: Fact, value: str, quoted: bool = False) -> str:
    entity = named(fact)
    if fact.attribute == "country" and value in ARTICLES:
        value = f"the {value}"
    if quoted and "{e}'s" not in template and '"{e}' not in template:
        entity = f'"{entity}"'
    if " a {v}" in template:
        template = template.replace(" a {v}", f" {_article(value)}{{v}}")
    if "a {e}" in template and entity[:1].lower() in "aeiou":
        template = template.replace(" a {e}", " an {e}")
    if "{e}'s" in template and entity.endswith("s"):
        template = template.replace("{e}'s", "{e}'")
    text = template.replace("{e}", entity).replace("{b}", fact.entity).replace("{v}", value)
    if "he the " in text or "he The " in text:
        text = re.sub(r"\b([Tt]he) [Tt]he ", r"\1 ", text)
    return text


def _article(value: str) -> str:
    if value.split(" ", 1)[0] in ("a", "an", "the"):  # the value brings its own article
        return ""
    open_sound = value[:1].lower() in "aeiou" and not value.lower().startswith(("uni", "eu"))
    return "an " if open_sound else "a "


def statement(fact: Fact, rng: random.Random, template: str | None = None, *, plain: bool = False) -> str:
    """A whole clause without a full stop, for example "the capital of Peru is Lima".

    With `plain` it is one of the attribute's first few statements that do not begin with the value: answers need less
    variety than pages, and a small model's first word would often be a wrong value.
    """
    own = wording(fact)
    template = template or rng.choice(own.plain if plain else own.says)
    return _counted(fact, _fill(template, fact, fact.value, fact.kind in QUOTED_KINDS))


def _counted(fact: Fact, text: str) -> str:
    return text.replace(" 1 moons", " 1 moon") if fact.attribute == "moon_count" else text


def question(fact: Fact, rng: random.Random, tidy: float = 0.7, split: str = "train") -> str:
    """A question as people type it, in a form of the split.

    With probability `tidy` it is well formed; else it lacks capitals, marks, articles or letters, or shouts.
    """
    pool = _pools(fact.kind, fact.attribute, "question", plural(fact))[split]
    return _asked(pool.draw(rng), fact, fact.value, rng, tidy)


def reverse_question(fact: Fact, rng: random.Random, split: str = "train", tidy: float = 0.7) -> str | None:
    """A question that names the value and asks for the entity ("Whose capital is Lima?").

    None where the attribute has no such question, or where another entity of the table has the same value.
    """
    pool = _pools(fact.kind, fact.attribute, "reverse")[split]
    if not pool.blocks or _owners()[fact.kind, fact.attribute, fact.value] > 1:
        return None
    return _asked(pool.draw(rng), fact, fact.value, rng, tidy)


@cache
def _owners() -> Counter[tuple[str, str, str]]:
    return Counter((f.kind, f.attribute, f.value) for f in load_facts())


def yes_no_question(
    fact: Fact, value: str, rng: random.Random, split: str = "train", tidy: float = 0.7
) -> str:
    """A question whether `value`, the true one or another, is the fact's ("Is Lima the capital of Peru?")."""
    pool = _pools(fact.kind, fact.attribute, "yes_no", plural(fact))[split]
    return _counted(fact, _asked(pool.draw(rng), fact, value, rng, tidy))


def about_question(fact: Fact, rng: random.Random, split: str = "train", tidy: float = 0.7) -> str:
    """A question about everything that is known of the fact's entity ("Tell me about Kenya.")."""
    return _asked(_about()[split].draw(rng), fact, fact.value, rng, tidy)


@cache
def _about() -> dict[str, Pool]:
    head = Head("about", 1, True, (("A", "{e}"),))
    return pools((head,), frames("about"))


def _asked(template: str, fact: Fact, value: str, rng: random.Random, tidy: float) -> str:
    quoted = fact.kind in QUOTED_KINDS and rng.random() < 0.6
    if rng.random() < tidy:
        return sentence(_fill(template, fact, value, quoted))
    form, cased = fault(template, rng)
    return str(cased(" ".join(_fill(form, fact, value, quoted).split())))


_MARKS = str.maketrans("", "", "?.!")
_CHAT = (
    (re.compile(r"\byou\b", re.I), "u"), (re.compile(r"\bwhat(?: i|')s\b", re.I), "whats"), (re.compile(r"\bwhich\b", re.I), "wich"),
    (re.compile(r"\bplease\b", re.I), "pls"), (re.compile(r"\bpeople\b"), "ppl"), (re.compile(r"\bare\b"), "r"),
    (re.compile(r"\bwhere is\b", re.I), "wheres"), (re.compile(r"\bwho is\b", re.I), "whos"), (re.compile(r"\bto\b"), "2"),
    (re.compile(r"\bthanks\b", re.I), "thx"), (re.compile(r"\bfor\b"), "4"), (re.compile(r"'(?=[a-z]+\b)(?!s\b)"), ""),
    (re.compile(r"\bcountry\b"), "contry"), (re.compile(r"\bbecause\b"), "cuz"), (re.compile(r"\bwhat\b", re.I), "wat"),
    (re.compile(r"\btell me\b", re.I), "tel me"), (re.compile(r"\bdoes\b"), "dose"), (re.compile(r"\bI'd\b"), "id"),
)  # fmt: skip
_ARTICLE = re.compile(r"\b(?:the|a|an) ", re.I)


def fault(template: str, rng: random.Random) -> tuple[str, Any]:
    """(the template with a fault of typing outside its placeholders, the function that sets the case of the filled text)."""
    kind = rng.random()
    if kind < 0.2:
        return template.translate(_MARKS), sentence
    if kind < 0.38:
        return template, str.lower
    if kind < 0.58:
        return template.translate(_MARKS), str.lower
    if kind < 0.63:
        return template, str.upper
    if kind < 0.8:
        return slip(template, rng), sentence if rng.random() < 0.6 else str.lower
    if kind < 0.9:
        return _ARTICLE.sub("", template), sentence if rng.random() < 0.5 else str.lower
    for plain, typed in _CHAT:
        if rng.random() < 0.7:
            template = plain.sub(typed, template)
    return template.translate(_MARKS) if rng.random() < 0.5 else template, str.lower


def slip(text: str, rng: random.Random) -> str:
    """One typing slip (a letter lost, doubled or swapped) in a word; placeholders are no words."""
    words = text.split(" ")
    able = [i for i, w in enumerate(words) if len(w) > 3 and w.isalpha()]
    if not able:
        return text
    index = rng.choice(able)
    word = words[index]
    cut = rng.randrange(1, len(word) - 1)
    lost, doubled = word[:cut] + word[cut + 1 :], word[:cut] + word[cut] + word[cut:]
    swapped = word[: cut - 1] + word[cut] + word[cut - 1] + word[cut + 1 :]
    words[index] = rng.choice([lost, doubled, swapped])
    return " ".join(words)
