"""A tokenizer file: the bytes of its tokens, its control tokens, and encoding text around those.

Supports two kinds of vocabulary: byte-level BPE, which writes bytes as visible characters, and sentencepiece,
which writes a space as U+2581 and bytes without a token as <0xAB>.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from eft_demo.errors import FamilyError, error_text
from eft_demo.families.bytelevel import byte_alphabet
from eft_demo.families.files import MAX_TOKENIZER_BYTES, is_file, read_text

MAX_GROWTH = 100  # of a text's length by its normalizer; sentencepiece's makes a space three bytes
MAX_VOCAB = 4_000_000  # the largest known has 262,144
SPACE = "\u2581"
# Unicode's white space, as the tokenizers library has it; Python counts four control characters more.
WHITE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_ALPHABET = byte_alphabet()


@dataclass(frozen=True, slots=True)
class Codec:
    """A tokenizer with data from its file. `token_bytes[id]` is empty for control tokens."""

    tokenizer: Tokenizer
    inner: Tokenizer  # for text after a control token, where some tokenizers must not add a space
    token_bytes: tuple[bytes, ...]
    control_ids: Mapping[str, int]  # tokens such as <|endoftext|>
    bos_id: int | None  # the token that its own rules put before a text
    strips_left: frozenset[str] = frozenset()  # control tokens that remove the white space before them
    strips_right: frozenset[str] = frozenset()  # and after them, as Phi 3's do

    def encode(self, text: str) -> list[int]:
        """Encode text, treating nothing in it as a control token."""
        return _encode(self.tokenizer, text)

    def encode_around(self, fixed: Sequence[str], texts: Sequence[str]) -> list[int]:
        """Encode `fixed[0] + texts[0] + fixed[1] + ...` as one text; only `fixed` may contain control tokens.

        There is one more of `fixed` than of `texts`.
        """
        pieces = self._split(fixed[0])
        for text, after in zip(texts, fixed[1:], strict=True):
            start, *rest = self._split(after)
            # Encode across the boundaries, because that is how models saw such texts in training.
            pieces[-1] += text + start
            pieces += rest
        for index in range(1, len(pieces), 2):
            if pieces[index] in self.strips_left:
                pieces[index - 1] = pieces[index - 1].rstrip(WHITE)
            if pieces[index] in self.strips_right:
                pieces[index + 1] = pieces[index + 1].lstrip(WHITE)
        ids: list[int] = []
        for index, piece in enumerate(pieces):
            if index % 2:
                ids.append(self.control_ids[piece])
            elif piece:
                tokenizer = self.inner if index else self.tokenizer
                ids += _encode(tokenizer, piece)
        return ids

    def _split(self, text: str) -> list[str]:
        """Split into alternating text and control tokens; the first and last items are (maybe empty) text."""
        if not self.control_ids:
            return [text]
        longest_first = sorted(self.control_ids, key=len, reverse=True)
        return re.split(f"({'|'.join(map(re.escape, longest_first))})", text)


def read_codec(path: Path, advice: str) -> Codec:
    """Read the tokenizer in `path`. Raises FamilyError for a missing, damaged or unsupported file."""
    if not is_file(path):
        raise FamilyError(f"The tokenizer {path} is missing. {advice}")
    try:
        text = read_text(path, MAX_TOKENIZER_BYTES)
    except (OSError, ValueError) as error:
        raise FamilyError(f"The tokenizer {path} is damaged ({error_text(error)}). {advice}") from None
    try:
        return make_codec(Tokenizer.from_str(text), json.loads(text))
    except FamilyError as error:
        raise FamilyError(f"The tokenizer {path}: {error} {advice}") from None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the library's Rust code is not an Exception
        raise FamilyError(f"The tokenizer {path} is damaged ({error_text(error)}). {advice}") from None


def make_codec(tokenizer: Tokenizer, description: Mapping[str, Any] | None = None) -> Codec:
    """Collect what a Codec needs; `description` is the parsed tokenizer file."""
    described = json.loads(tokenizer.to_str()) if description is None else description
    if (growth := _growth(described.get("normalizer"))) > MAX_GROWTH:
        raise FamilyError(
            f"its normalizer makes a text {growth:,.0f} times as long; the limit is {MAX_GROWTH}."
        )
    _forget_training(tokenizer)
    added = tokenizer.get_added_tokens_decoder()
    control = {token_id: token for token_id, token in added.items() if token.special}
    # Without this, typing <|endoftext|> would end the prompt.
    tokenizer.encode_special_tokens = True
    return Codec(
        tokenizer=tokenizer,
        inner=_inner(tokenizer, described),
        token_bytes=bytes_of_tokens(tokenizer, described),
        control_ids={token.content: token_id for token_id, token in control.items()},
        bos_id=_first_id(tokenizer),
        strips_left=frozenset(token.content for token in control.values() if token.lstrip),
        strips_right=frozenset(token.content for token in control.values() if token.rstrip),
    )


def _first_id(tokenizer: Tokenizer) -> int | None:
    """The token that the tokenizer puts before a text. One that it only puts after a text is none."""
    whole = tokenizer.encode("a", add_special_tokens=True)
    return whole.ids[0] if whole.ids and whole.special_tokens_mask[0] else None


def _forget_training(tokenizer: Tokenizer) -> None:
    """Switch off truncation, padding and dropout, which a tokenizer's file may keep from training.

    They would cut or pad prompts, or tokenise the same prompt differently each time, without any message.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None


def bytes_of_tokens(tokenizer: Tokenizer, description: Mapping[str, Any] | None = None) -> tuple[bytes, ...]:
    """The bytes of every token id from 0 to the highest; empty for control tokens and unused ids."""
    described = json.loads(tokenizer.to_str()) if description is None else description
    steps = set(_types(described.get("decoder")))
    if "ByteLevel" in steps:
        spell = spell_byte_level
    elif steps & {"ByteFallback", "Metaspace"}:
        spell = spell_sentencepiece
    else:
        raise FamilyError(
            "it is neither byte-level BPE nor sentencepiece, so the exact bytes of its tokens are unknown."
        )
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    if not vocab:
        raise FamilyError("it has no tokens.")
    if (highest := max(vocab.values(), default=-1)) >= MAX_VOCAB:
        raise FamilyError(f"it has a token with id {highest:,}; the limit is {MAX_VOCAB:,}.")
    added = tokenizer.get_added_tokens_decoder()
    token_bytes = [b""] * (highest + 1)
    for token, token_id in vocab.items():
        if token_id not in added:
            token_bytes[token_id] = spell(token)
        elif not added[token_id].special:
            token_bytes[token_id] = (
                token.replace(SPACE, " ").encode() if spell is spell_sentencepiece else token.encode()
            )
    return tuple(token_bytes)


def spell_byte_level(token: str) -> bytes:
    """The bytes of an ordinary token of byte-level BPE. Raises KeyError for other characters."""
    return bytes(_ALPHABET[character] for character in token)


def spell_sentencepiece(token: str) -> bytes:
    """The bytes of an ordinary token of sentencepiece."""
    found = _BYTE.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else token.replace(SPACE, " ").encode()


def _types(step: Any) -> Iterable[str]:
    """The types of a decoder's steps, including nested ones."""
    if isinstance(step, Mapping):
        yield str(step.get("type"))
        for inner in step.get("decoders") or step.get("pretokenizers") or ():
            yield from _types(inner)


def _growth(step: Any) -> float:
    """The factor by which a normalizer's replacements can lengthen a text."""
    if not isinstance(step, Mapping):
        return 1
    steps = step.get("normalizers")
    if isinstance(steps, list):
        return math.prod(_growth(inner) for inner in steps)
    content, pattern = step.get("content"), step.get("pattern")
    if not isinstance(content, str):
        return 1
    replaced = pattern.get("String") if isinstance(pattern, Mapping) else None
    return max(1.0, len(content) / max(1, len(replaced or "")))


def _inner(tokenizer: Tokenizer, described: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer without the space that a Metaspace step with scheme `first` puts before a text."""
    text = json.dumps(described)
    changed = text.replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')
    if changed == text:
        return tokenizer
    inner = Tokenizer.from_str(changed)
    _forget_training(inner)
    inner.encode_special_tokens = True
    return inner


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text. Raises FamilyError if the library panics, as when a regex takes too long."""
    try:
        return tokenizer.encode(text, add_special_tokens=False).ids
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        raise FamilyError(
            f"The family's tokenizer cannot encode this text ({error_text(error)}). Please change the text "
            "or choose another family."
        ) from None
