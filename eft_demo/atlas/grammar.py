"""The grammar of questions: heads, frames and which of their pairs training never sees. Knows no fact and no model.

A *head* is one way to ask for one attribute: a noun ("capital city"), a clause ("which currency [does] {e} _use"), a
sentence to complete, or a whole situation. A *frame* is what people put around it ("do you know {E}?"). A *form* is one
head in one frame. A form is held out if its head or its frame is; both are chosen by a hash of their own text, so the
choice depends on nothing else. The everyday heads and frames (the first of a list, those with a weight) are never held
out: whoever asks "What is the capital of Peru?" should meet a model that has read such questions.

A clause marks its inversion: "[does]" is the verb that a direct question puts first, "_" the place that it has in an
embedded one. "which currency [does] {e} _use" is asked as "which currency does Peru use" and embedded as "which
currency Peru uses"; "where [is] {e} _ located" becomes "where Peru is located".
"""

import random
import re
from dataclasses import dataclass
from itertools import accumulate

from eft_demo.atlas.halves import SPLITS, share

# Slots of frames: D a direct clause, E an embedded one, P a noun phrase with its article, F the phrase without
# article, N a bare noun, K a keyword beside the bare entity, C a sentence to complete, W a whole situation,
# Y a statement to confirm, B a direct yes/no clause; frames in small letters only ("tell me about {e}") have the slot A.
SLOT_SHARE = {
    "D": 0.36, "E": 0.19, "P": 0.15, "F": 0.06, "N": 0.04, "K": 0.08, "C": 0.06, "W": 0.09, "Y": 0.5, "B": 0.5, "A": 1.0,
}  # fmt: skip
HELD_HEADS, HELD_FRAMES = 0.2, 0.19  # together about a third of the forms
_PLURAL = {"is": "are", "was": "were", "does": "do", "has": "have", "lies": "lie"}
_PAST = {
    "become": "became", "get": "got", "win": "won", "leave": "left", "take": "took", "hold": "held", "begin": "began",
    "find": "found", "come": "came", "break": "broke", "write": "wrote", "stand": "stood", "draw": "drew", "see": "saw",
    "think": "thought", "go": "went", "have": "had", "give": "gave", "do": "did", "cut": "cut", "be": "was", "run": "ran",
    "stop": "stopped", "know": "knew", "pen": "penned", "sit": "sat", "swear": "swore", "picture": "pictured", "step": "stepped",
    "enter": "entered", "split": "split", "say": "said", "let": "let", "rule": "ruled", "sign": "signed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """One way to ask: its text as written (what the hash sees), its share and its texts for the slots of frames."""

    key: str
    weight: float
    everyday: bool
    texts: tuple[tuple[str, str], ...]  # (slot, text)


@dataclass(frozen=True, slots=True)
class Frame:
    """What people put around a head: one text with one slot."""

    text: str
    slot: str
    weight: float

    @property
    def everyday(self) -> bool:
        return self.weight > 1


@dataclass(frozen=True, slots=True)
class Block:
    """Every text of some heads in every frame of some frames, all of one slot, with running weights."""

    slot: str
    texts: tuple[str, ...]
    text_weights: tuple[float, ...]
    frames: tuple[str, ...]
    frame_weights: tuple[float, ...]

    @property
    def weight(self) -> float:
        return self.text_weights[-1] * self.frame_weights[-1]


@dataclass(frozen=True, slots=True)
class Pool:
    """The forms of one split, as blocks with running weights."""

    blocks: tuple[Block, ...]
    running: tuple[float, ...]

    def draw(self, rng: random.Random) -> str:
        """One form, by weight."""
        (block,) = rng.choices(self.blocks, cum_weights=self.running)
        (text,) = rng.choices(block.texts, cum_weights=block.text_weights)
        (frame,) = rng.choices(block.frames, cum_weights=block.frame_weights)
        return put(frame, block.slot, text)

    def forms(self) -> tuple[str, ...]:
        """All forms, each once."""
        return tuple(
            dict.fromkeys(
                put(f, block.slot, t) for block in self.blocks for t in block.texts for f in block.frames
            )
        )


def put(frame: str, slot: str, text: str) -> str:
    """The frame with the text in its slot; "{^D}" begins with a capital."""
    if slot == "A":
        return frame
    if "{^" in frame:
        return frame.replace(f"{{^{slot}}}", text[:1].upper() + text[1:])
    return frame.replace(f"{{{slot}}}", text)


def parse_frame(line: str) -> Frame:
    """'3* do you know {E}?' -> a frame of weight 3. Raises ValueError if it has two slots."""
    weight, text = re.fullmatch(r"(?:(\d+)\* )?(.+)", line).groups()  # type: ignore[union-attr]
    found = set(re.findall(r"\{\^?([A-Z])\}", text)) or {"A"}
    if len(found) != 1:
        raise ValueError(f"A frame has one slot, this one has {len(found)}: {line}")
    return Frame(text, found.pop(), float(weight or 1))


def held_head(head: Head) -> bool:
    return not head.everyday and share(head.key) < HELD_HEADS


def held_frame(frame: Frame) -> bool:
    # Slots N and K share a name here: a pair of frames that differ only in the slot is one wording.
    return not frame.everyday and share(frame.text.replace("{K}", "{N}")) < HELD_FRAMES


def pools(heads: tuple[Head, ...], frames: tuple[Frame, ...]) -> dict[str, Pool]:
    """Split -> the forms of every head in every frame that has a slot for it.

    A text that several heads share counts once, for training if one of them is not held out.
    """
    parts: dict[str, list[Block]] = {split: [] for split in SPLITS}
    for slot in SLOT_SHARE:
        texts = {held: _texts(heads, slot, held) for held in (False, True)}
        texts[True] = {t: w for t, w in texts[True].items() if t not in texts[False]}
        around = {
            held: {f.text: f.weight for f in frames if f.slot == slot and held_frame(f) == held}
            for held in texts
        }
        for held_text, held_around in ((False, False), (False, True), (True, False), (True, True)):
            own, put_in = texts[held_text], around[held_around]
            if own and put_in:
                block = Block(slot, tuple(own), _running(own), tuple(put_in), _running(put_in))
                parts["held" if held_text or held_around else "train"].append(block)
    return {split: _pool(blocks) for split, blocks in parts.items()}


def _texts(heads: tuple[Head, ...], slot: str, held: bool) -> dict[str, float]:
    found: dict[str, float] = {}
    for head in heads:
        own = [text for s, text in head.texts if s == slot]
        for text in own if held_head(head) == held else ():
            found[text] = found.get(text, 0.0) + head.weight / len(own)
    return found


def _running(weights: dict[str, float]) -> tuple[float, ...]:
    return tuple(accumulate(weights.values()))


def _pool(blocks: list[Block]) -> Pool:
    total: dict[str, float] = {}
    for block in blocks:
        total[block.slot] = total.get(block.slot, 0.0) + block.weight
    running = accumulate(SLOT_SHARE[block.slot] * block.weight / total[block.slot] for block in blocks)
    return Pool(tuple(blocks), tuple(running))


def third_person(verb: str) -> str:
    """'use' -> 'uses'."""
    if verb == "have":
        return "has"
    if re.search(r"(s|sh|ch|x|z|o)$", verb):
        return verb + "es"
    return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"


def past(verb: str) -> str:
    """'gain' -> 'gained', 'become' -> 'became'."""
    if verb in _PAST:
        return _PAST[verb]
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ied"
    return verb + ("d" if verb.endswith("e") else "ed")


def clause(line: str, *, plural: bool = False) -> tuple[str, str]:
    """(direct, embedded) texts of a clause in the notation above; `plural` is the number of the entity."""
    match = re.search(r"\[(\w+)\] ", line)
    if match is None:  # a question for the subject does not invert
        text = agree(line) if plural else line
        return text, text
    verb, agrees = match[1], re.match(r"\{e\}(?!')", line[match.end() :]) is not None
    before, after = line[: match.start()], line[match.end() :]
    shown = _PLURAL.get(verb, verb) if plural and agrees else verb
    direct = f"{before}{shown} {re.sub(r'_ ?', '', after)}"
    if verb in ("do", "does", "did"):
        form = past if verb == "did" else third_person if shown == "does" else str
        embedded = before + re.sub(r"_(\w+)", lambda m: form(m[1]), after)
    elif "_" in after:
        embedded = before + re.sub(r"_ ?", lambda m: f"{shown} ", after)
    elif tail := re.fullmatch(r"(\{e\}|there)(?!') (.+)", after):
        embedded = f"{before}{tail[1]} {shown} {tail[2]}"
    else:
        embedded = f"{before}{after} {shown}"
    return direct, embedded if before else f"whether {embedded}"


def agree(text: str) -> str:
    """A clause with the plural of the verb that follows an entity as its subject."""

    def plural(match: re.Match[str]) -> str:
        verb = match[2]
        if verb in _PLURAL:
            return match[1] + _PLURAL[verb]
        return match[1] + (re.sub(r"(?<=ch|sh)es$|s$", "", verb) if verb.endswith("s") else verb)

    return re.sub(
        r"(^\{e\} (?:now |mainly |mostly |officially |first )?|(?:, |and |that |why |how )\{e\} )([a-z]+)",
        plural,
        text,
    )


def agree_asked(text: str) -> str:
    """The same for a verb that stands before the entity: "does {e} have" -> "do {e} have"."""

    def plural(match: re.Match[str]) -> str:
        verb = _PLURAL[match[1].lower()]
        return verb.capitalize() if match[1][0].isupper() else verb

    return re.sub(r"\b(is|was|does|has)(?= \{e\}(?!'))", plural, text, flags=re.IGNORECASE)


def noun_head(line: str, wh: str, be: str, weight: float, everyday: bool) -> Head:
    """A noun as written in wording.yaml, or a whole phrase that holds {e}.

    "+neighbours" is plural, "~how many people" is only a keyword, "dialling code /for" names its prepositions,
    "@birth" is asked with "when" and "=the name of ..." with "what", whatever the attribute's other nouns take.
    """
    noun, *prepositions = (part.strip() for part in line.split("/"))
    if noun.startswith("~"):
        return Head(line, weight, everyday, (("K", noun[1:]),))
    wh = {"@": "when", "=": "what"}.get(noun[0], wh)
    many, noun = noun.startswith("+"), noun.lstrip("+@=")
    verb = {"is": "are", "was": "were"}[be] if many else be
    prepositions = prepositions or ["of"]
    texts: list[tuple[str, str]] = []
    if "{e}" in noun:
        phrases = [noun]
    else:
        phrases = [f"the {noun} {preposition} {{e}}" for preposition in prepositions]
        phrases += [f"{{e}}'s {noun}"] * ("of" in prepositions)
        texts += [("K", noun)] if many else [("K", noun), ("N", noun)]
    for phrase in phrases:
        texts += [("D", f"{wh} {verb} {phrase}"), ("E", f"{wh} {phrase} {verb}"), ("P", phrase)]
        if not re.search(r" (?:in|on|is|at)$", phrase):  # not "the country that Peru is in is"
            texts.append(("C", f"{phrase} {verb}"))
        if verb == "is":
            texts.append(("D", f"{wh}'s {phrase}"))
        if phrase.startswith("the "):
            texts.append(("F", phrase.removeprefix("the ").replace("{e}", "{b}")))
    return Head(line, weight, everyday, tuple(texts))


def clause_head(line: str, weight: float, everyday: bool, *, plural: bool = False) -> Head:
    """A clause with its direct and its embedded text."""
    direct, embedded = clause(line, plural=plural)
    if re.match(r'(?:the )?"?\{v\}', line):  # "{v} is the capital of which country" is never embedded
        return Head(line, weight, everyday, (("D", direct),))
    return Head(line, weight, everyday, (("D", direct), ("E", embedded)))


_NO_SUBJECT = re.compile(
    r"(?:nothing|nobody|whoever|no |in |as |by |from |on |at |to |among |around |since |for |above |counting |under |next |"
    r"every |when |before |after |shops |whatever |we |you |moons )"
)
_BASE = {
    past(verb): verb
    for verb in (
        "become", "win", "get", "gain", "join", "leave", "take", "break", "enter", "write", "belong", "discover",
        "find", "host", "pen", "welcome", "stand", "separate", "serve", "govern",
    )
}  # fmt: skip


def yes_no_clause(said: str) -> str | None:
    """'{v} is the capital of {e}' -> 'is {v} the capital of {e}'; None where the statement does not turn around easily."""
    if _NO_SUBJECT.match(said) or ":" in said:
        return None
    parts = re.fullmatch(r"(.+?) (is|are|was|were) (.+)", said)
    if parts and not re.search(r"\b(?:that|who|where|what|which|when)\b", parts[1]):
        return f"{parts[2]} {parts[1]} {parts[3]}"
    parts = re.fullmatch(r"(\{e\}|\{v\}|\"\{v\}\"|the \{v\}) ([a-z]+) (.+)", said)
    if parts is None:
        return None
    subject, verb, rest = parts.groups()
    if verb in _BASE:
        return f"did {subject} {_BASE[verb]} {rest}"
    if verb in ("has", "lies"):
        return f"does {subject} {'have' if verb == 'has' else 'lie'} {rest}" if " been " not in said else None
    if re.search(r"(?:ch|sh)es$", verb):
        return f"does {subject} {verb[:-2]} {rest}"
    if verb.endswith("s"):
        return f"does {subject} {verb[:-1]} {rest}"
    return (
        f"do {subject} {verb} {rest}"
        if verb in ("use", "lie", "have", "cover", "border", "share", "belong")
        else None
    )
