"""The alphabet of byte-level BPE tokenizers, which encode bytes as visible characters."""


def byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 characters map to themselves, other bytes to U+0100 and up."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
