"""llama.cpp's server: prompts of token ids in, one token out, with its likeliest rivals by id.

Checked against build 11549. It cannot be asked for single tokens, but its answers have any number of them, so
a doubt about one is settled with the whole row. Knows `/completion`, not its OpenAI-style interface, whose
answers name tokens by their texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eft_demo.models.completion_server import CompletionServer
from eft_demo.models.dialect import NO_ROW, Row, Texts, ids_of_text, misread, read_row

OWNER = "llamacpp"  # as the server says of its model
# Of an answer: {"id":4095,"token":" word","bytes":[32,119,...],"logprob":-12.3}, and its settings.
BYTES_PER_LOGPROB, SPARE_BYTES = 300, 200_000


class LlamaDialect:
    """The server's model; `facts` is what the server says about it."""

    setup = "Please start it with a model that has this vocabulary."
    longer = "--ctx-size"

    def __init__(self, server: CompletionServer, facts: Mapping[str, Any]) -> None:
        """Raises RemoteError if the server does not say how many tokens it knows."""
        self._server = server
        self.software = "llama.cpp"
        meta = facts.get("meta")
        sizes = meta if isinstance(meta, dict) else {}
        width, context = sizes.get("n_vocab"), sizes.get("n_ctx")
        if not isinstance(width, int) or not 0 < width < 2**24:
            raise server.fault(
                "does not say how many tokens its model knows", "Please update llama.cpp, and try again."
            )
        self._width = width
        self.context = context - 1 if isinstance(context, int) else None  # it needs room for the token

    def tokenize(self, text: str) -> object:
        """See `Dialect`."""
        body = {"content": text, "add_special": False, "parse_special": False}
        return ids_of_text(self._server, body)

    def whole(self, texts: Texts) -> list[Row]:
        """See `Dialect`."""
        return self.top(texts, self._width)

    def by_id(self, texts: Texts, ids: Sequence[int]) -> list[Row]:
        """See `Dialect`. The whole rows."""
        return self.top(texts, self._width)

    def top(self, texts: Texts, count: int) -> list[Row]:
        """See `Dialect`."""
        body = {
            "prompt": [list(text) for text in texts],
            "n_predict": 1,
            "n_probs": count,
            "temperature": 0,
            "samplers": [],
            "post_sampling_probs": False,  # those of the model itself
            "cache_prompt": True,
        }
        most_bytes = len(texts) * (count * BYTES_PER_LOGPROB + SPARE_BYTES)
        answer = self._server.post(f"{self._server.server.root}/completion", body, most_bytes)
        try:
            found = answer if isinstance(answer, list) else [answer]
            tables = {one["index"]: one["completion_probabilities"][0]["top_logprobs"] for one in found}
            return [
                read_row(
                    self._server, [entry["id"] for entry in table], [entry["logprob"] for entry in table]
                )
                for table in (tables[index] for index in range(len(texts)))
            ]
        except NO_ROW as error:
            raise misread(self._server, error) from None
