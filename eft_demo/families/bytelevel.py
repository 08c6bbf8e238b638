"""The bytes behind the tokens of a byte-level BPE tokenizer, which writes bytes as visible characters."""

from tokenizers import Tokenizer


def bytes_of_tokens(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    """The bytes of every token id, 0 to the highest. Control tokens and unused ids stand for none."""
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    added = tokenizer.get_added_tokens_decoder()
    alphabet = byte_alphabet()
    token_bytes = [b""] * (max(vocab.values()) + 1)
    for token, token_id in vocab.items():
        if token_id not in added:
            token_bytes[token_id] = bytes(alphabet[character] for character in token)
        elif not added[token_id].special:
            token_bytes[token_id] = token.encode()
    return tuple(token_bytes)


def byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 characters are themselves, other bytes follow from U+0100 on."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
