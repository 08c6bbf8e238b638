"""Checks that models share a vocabulary, id by id, because EFT subtracts log-probs token by token.

Knows token strings and ids; knows no tokenizer library and no files.
"""

from collections.abc import Mapping, Sequence

from eft_demo.errors import FamilyError

SHOWN_DIFFERENCES = 5


def compare_vocabularies(vocabularies: Mapping[str, Mapping[str, int]]) -> int:
    """The number of ids that all vocabularies share; each maps token -> id and is keyed by its model's name.

    Vocabularies may differ in length; ids beyond the shortest are not used. Raises FamilyError with the first
    differences if an id stands for different tokens.
    """
    tables = {
        name: {token_id: token for token, token_id in vocabulary.items()}
        for name, vocabulary in vocabularies.items()
    }
    length = min(max(table, default=-1) + 1 for table in tables.values())
    (first, reference), *others = tables.items()
    for name, table in others:
        ids = [i for i in range(length) if reference.get(i) != table.get(i)]
        if ids:
            pairs = [(i, _shown(reference.get(i)), _shown(table.get(i))) for i in ids[:SHOWN_DIFFERENCES]]
            differ = f"The vocabularies of {first} and {name} differ in {len(ids):,} of {length:,} ids"
            raise _refusal(differ, first, name, pairs)
    return length


def compare_bytes(
    first: str, reference: Sequence[bytes], name: str, token_bytes: Mapping[int, bytes]
) -> None:
    """Raises FamilyError if an id that stands for text in both has other bytes in `name` than in `first`."""
    ids = [i for i, own in token_bytes.items() if i < len(reference) and reference[i] and reference[i] != own]
    if ids:
        pairs = [(i, repr(reference[i][:40]), repr(token_bytes[i][:40])) for i in ids[:SHOWN_DIFFERENCES]]
        raise _refusal(f"The tokens of {first} and {name} differ in {len(ids):,} ids", first, name, pairs)


def _refusal(differ: str, first: str, name: str, pairs: Sequence[tuple[int, str, str]]) -> FamilyError:
    """The error with the first differences: (id, what it is in `first`, what it is in `name`)."""
    shown = "; ".join(f"id {i} is {one} in {first} and {other} in {name}" for i, one, other in pairs)
    return FamilyError(
        f"{differ} ({shown}). EFT subtracts token by token, so all models must share one vocabulary: please "
        "choose models of one family."
    )


def _shown(token: str | None) -> str:
    return "nothing" if token is None else ascii(token[:40])
