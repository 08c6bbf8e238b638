"""A model on a completion server, such as vLLM: a row is a list of token ids kept here.

A step is one request with a prompt for each row and position, and the server reads again only what its prefix
cache does not hold. A server that sends whole rows of log-probs is taken at its word; one that sends only the
likeliest ones is a `CutModel`, whose rows the engine completes and certifies. Knows rows; the dialects know
what servers speak, and `completion_server` knows HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family
from eft_demo.models.completion_server import CompletionServer, Refused
from eft_demo.models.cut_row import cut_row, fill, lacking, with_ids
from eft_demo.models.dialect import Dialect, Row
from eft_demo.models.late_answers import Answers
from eft_demo.models.llama_dialect import OWNER as LLAMA
from eft_demo.models.llama_dialect import LlamaDialect
from eft_demo.models.protocol import SavedRow, SentRow, Slot
from eft_demo.models.sglang_dialect import OWNER as SGLANG
from eft_demo.models.sglang_dialect import SglangDialect
from eft_demo.models.vllm_dialect import MOST_IDS, WIDEST, VllmDialect
from eft_demo.settings import Settings, show_value

TOPS = (256, 100, 20, 5)  # how many log-probs a server is asked for, until it agrees; vLLM's own limit is 20
SUM_TOLERANCE = 0.01  # nats by which the probabilities may miss a sum of 1, as in bfloat16
STEP_TOLERANCE = 0.1  # the same in a step: rounding must not end a text, but logits or another scale must
MIN_CONTEXT = 16  # as the least that a family file may have
ID_BYTES = 8  # of a token id that is kept
MOST_NAMES = 10  # of models, in a message
KEPT_ROWS = 4_096  # what was sent of rows, for questions about them: 4 kB each, and more than a step has
Question = tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]  # texts, and the ids to ask for after each

PROBE = "Zürich, 東京: def f(x):\n    return 2**10 - x  # don't"
SET_MODEL = "Please set EFT_BASE_MODEL, or `model` in the family file, to one of them."


class RemoteModel:
    """A `LanguageModel` that a server runs. The logits are log-probs in float32, on the CPU."""

    def __init__(
        self,
        name: str,
        server: CompletionServer,
        dialect: Dialect,
        vocab: int,
        context: int,
        width: int,
        where: str,
    ) -> None:
        """`width` is the number of log-probs that the server sends for each row, `where` is for people."""
        self.name, self.vocab, self.context, self.where = name, vocab, context, where
        self._server, self._dialect, self._width = server, dialect, width
        self._answers = Answers(f"eft-{name}")
        self._texts: dict[Slot, list[int]] = {}  # may be longer than the slot, after a rollback

    @property
    def late_s(self) -> float:
        """For how many seconds an answer has been due since NotYet was raised; 0 if none is."""
        return self._answers.late_s

    def join(self) -> Slot:
        """A new, empty row."""
        taken = {slot.index for slot in self._texts}
        slot = Slot(next(index for index in range(len(taken) + 1) if index not in taken))
        self._texts[slot] = []
        return slot

    def leave(self, slot: Slot) -> None:
        """Free the row. Freeing a free row does nothing."""
        self._texts.pop(slot, None)

    def reset(self) -> None:
        """Free every row."""
        self._texts.clear()

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Make `target` hold the same tokens."""
        self._texts[target] = self._texts[source][: source.length]
        target.length = source.length

    def save(self, slot: Slot, most_bytes: int) -> SavedRow | None:
        """The tokens of the row, so that they need not be sent before there is something new to read."""
        size = ID_BYTES * slot.length
        return (
            SavedRow(tuple(self._texts[slot][: slot.length]), size, slot.length)
            if size <= most_bytes
            else None
        )

    def restore(self, slot: Slot, saved: SavedRow, length: int) -> None:
        """Make the empty row hold the first `length` of the saved tokens."""
        self._texts[slot] = list(saved.content[:length])
        slot.length = length

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append a block to each row: (rows, block) -> log-probs (rows, keep, vocab), with one request.

        Raises RemoteError, NotYet, and ValueError if a row would outgrow the context.
        """
        return self.start(slots, tokens, keep)()

    def start(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Callable[[], Tensor]:
        """Send the request of `forward`, so that others can run meanwhile; the result waits for its answer.

        Raises ValueError if a row would outgrow the context; the result raises RemoteError and NotYet.
        """
        block = tokens.shape[1]
        longest = max(slot.length for slot in slots) + block
        if longest > self.context:
            raise ValueError(f"a row of {longest} tokens exceeds the context of {self.context}")
        texts = [
            [*self._texts[slot][: slot.length], *line]
            for slot, line in zip(slots, tokens.tolist(), strict=True)
        ]
        prompts = [tuple(text[: len(text) - ahead]) for text in texts for ahead in reversed(range(keep))]
        # Columns share prompts and texts: equal ones are asked once, and so get equal answers.
        place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        wait = self._answers.ask(tuple(place), partial(self._ask, list(place)))

        def finish() -> Tensor:
            logits = self._read(list(place), wait())[[place[prompt] for prompt in prompts]]
            for slot, text in zip(slots, texts, strict=True):
                self._texts[slot] = text
                slot.length = len(text)
            return logits.view(len(slots), keep, self.vocab)

        return finish

    def _ask(self, texts: list[tuple[int, ...]]) -> list[Row]:
        """What the server sends after each of these texts. Runs in a thread of its own."""
        return self._dialect.whole(texts)

    def _read(self, texts: list[tuple[int, ...]], sent: list[Row]) -> Tensor:
        """The log-probs after each of these texts: (texts, vocab)."""
        rows = [whole_row(self._server, self._dialect, row) for row in sent]
        for row in rows:
            if len(row) != self._width:
                raise self._server.fault(
                    f"now knows {len(row):,} tokens in place of {self._width:,}: its model has changed",
                    "Please let it run the former model, or start the app again.",
                )
        logprobs = torch.stack(rows)
        for total in logprobs.logsumexp(-1).tolist():
            _check_sum(self._server, total, total, STEP_TOLERANCE)
        return logprobs[:, : self.vocab]


class CutModel(RemoteModel):
    """A `RemoteModel` whose server sends the `width` likeliest log-probs of a row, and others by id."""

    def __init__(self, *args: Any) -> None:
        """As `RemoteModel`."""
        super().__init__(*args)
        self._sent: dict[tuple[int, ...], SentRow] = {}

    def sent(self, text: tuple[int, ...]) -> SentRow:
        """What was sent of the row after that text, which a forward has returned."""
        return self._sent[text]

    def ask(self, wanted: Mapping[tuple[int, ...], Sequence[int]]) -> None:
        """Ask for the log-probs of these tokens after these texts. Raises RemoteError and NotYet.

        Texts share a request as long as it asks for few enough tokens; each text then gets those of all.
        """
        questions = tuple(_packed({text: lacking(self._sent[text], ids) for text, ids in wanted.items()}))
        for text, row in self._answers.ask(questions, partial(self._by_id, questions))():
            sent = _within(row, self.vocab)
            whole = with_ids(self._sent[text], sent.ids, sent.logprobs)
            _check_sum(self._server, float(whole.logprobs.logsumexp(0)), 0.0, STEP_TOLERANCE)
            self._sent[text] = whole

    def _by_id(self, questions: Sequence[Question]) -> list[tuple[tuple[int, ...], Row]]:
        return [
            (text, row)
            for texts, ids in questions
            for text, row in zip(texts, self._dialect.by_id(texts, ids), strict=True)
        ]

    def _ask(self, texts: list[tuple[int, ...]]) -> list[Row]:
        return self._dialect.top(texts, self._width)

    def _read(self, texts: list[tuple[int, ...]], sent_rows: list[Row]) -> Tensor:
        for text, row in zip(texts, sent_rows, strict=True):
            sent = read_cut_row(self._server, row, self._width, self.vocab, STEP_TOLERANCE)
            self._sent.pop(text, None)  # so that the newest ones are last
            self._sent[text] = sent
        for old in list(self._sent)[: -max(KEPT_ROWS, len(texts))]:
            del self._sent[old]
        return torch.stack([fill(self._sent[text], self.vocab)[0] for text in texts])


def _packed(wanted: Mapping[tuple[int, ...], Sequence[int]]) -> list[Question]:
    """The texts in groups, each with the ids to ask for: at most MOST_IDS."""
    groups: list[tuple[list[tuple[int, ...]], list[int]]] = []
    parts = [
        (text, ids[i : i + MOST_IDS]) for text, ids in wanted.items() for i in range(0, len(ids), MOST_IDS)
    ]
    for text, part in parts:
        for texts, together in groups:
            union = list(dict.fromkeys([*together, *part]))
            if len(union) <= MOST_IDS and text not in texts:
                texts.append(text)
                together[:] = union
                break
        else:
            groups.append(([text], list(part)))
    return [(tuple(texts), tuple(ids)) for texts, ids in groups]


def connect(family: Family, checkpoint: Checkpoint, settings: Settings) -> RemoteModel:
    """Connect to the checkpoint's server and check that its model fits the family. Raises RemoteError."""
    assert checkpoint.server is not None
    server = CompletionServer(checkpoint.role, checkpoint.server, settings)
    name, facts = _find_model(server)
    dialect = _dialect(server, name, facts)
    probe = family.codec.encode(PROBE)
    _check_tokenizer(server, dialect, probe)
    context = family.context if dialect.context is None else min(family.context, dialect.context)
    if context < MIN_CONTEXT:
        raise server.fault(
            f"takes texts of up to {max(context + 1, 0)} tokens, too few for any prompt",
            f"Please start it with {dialect.longer} {family.context} or more.",
        )
    short = (
        f", texts of up to {context:,} of {family.context:,} tokens" if context < family.context - 1 else ""
    )
    where = f"remote, {dialect.software} at {checkpoint.server.address}{short}"
    if family.vocab <= WIDEST and not settings.base_top:
        try:
            (row,) = dialect.whole([probe])
        except Refused as refusal:
            if not refusal.is_about("logprobs"):
                raise
        else:
            width = _check_row(server, whole_row(server, dialect, row), family.vocab)
            return RemoteModel(checkpoint.role, server, dialect, family.vocab, context, width, where)
    width, row = _most_logprobs(server, dialect, probe, settings.base_top)
    read_cut_row(server, row, width, family.vocab, SUM_TOLERANCE)
    where = f"{where}, its {width:,} likeliest tokens"
    return CutModel(checkpoint.role, server, dialect, family.vocab, context, width, where)


def _dialect(server: CompletionServer, name: str, facts: Mapping[str, Any]) -> Dialect:
    """The dialect of the server that says this about its model."""
    owner = facts.get("owned_by")
    if owner == LLAMA:
        return LlamaDialect(server, facts)
    return SglangDialect(server, name, facts) if owner == SGLANG else VllmDialect(server, name, facts)


def whole_row(server: CompletionServer, dialect: Dialect, row: Row) -> Tensor:
    """The log-probs of all ids from 0 on, float32 (width,). Raises RemoteError if some are missing."""
    width = len(row.ids)
    if not width or int(row.ids.max()) >= width:
        raise server.fault(f"sent only {width:,} log-probs per token", dialect.setup)
    found = torch.empty(width)
    found[row.ids] = row.logprobs
    return found


def read_cut_row(server: CompletionServer, row: Row, width: int, vocab: int, tolerance: float) -> SentRow:
    """The sent tokens that the tokenizer here has. Raises RemoteError if they cannot be a row's likeliest."""
    if not len(row.ids):
        raise server.fault("sent no log-probs for a text", "Please look at its log.")
    known = _within(row, vocab)
    if not len(known.ids):
        raise server.fault(
            f"sent only tokens that the tokenizer here does not have: it has {vocab:,}",
            "Please let it run the large model of this family.",
        )
    sent = cut_row(known.ids, known.logprobs, width)
    least = float(row.logprobs.logsumexp(0))
    # Hidden tokens are at most as likely as the last sent one; padded matrices have some more of them.
    most = float(
        torch.logaddexp(torch.tensor(least), torch.tensor(sent.highest_hidden + math.log(2 * vocab)))
    )
    _check_sum(server, least, most, tolerance)
    return sent


def _within(row: Row, vocab: int) -> Row:
    """The row without ids that the tokenizer does not have: a model's matrices may be padded."""
    is_token = row.ids < vocab
    return row if is_token.all() else Row(row.ids[is_token], row.logprobs[is_token])


def _check_sum(server: CompletionServer, least_nats: float, most_nats: float, tolerance: float) -> None:
    """Raise RemoteError unless a row can sum to 1, of which the log is between these two."""
    off_nats = least_nats if least_nats > tolerance else min(most_nats, 0.0)
    if abs(off_nats) > tolerance:
        raise server.fault(
            f"sends log-probs whose probabilities do not sum to 1 (off by {off_nats:.3g} nats)",
            "Please start it with --logprobs-mode raw_logprobs (vLLM).",
        )


def _most_logprobs(
    server: CompletionServer, dialect: Dialect, probe: Sequence[int], wanted: int
) -> tuple[int, Row]:
    """How many log-probs it sends for a row, and that row: `wanted`, or as many of TOPS as it agrees to."""
    for count in (wanted,) if wanted else TOPS:
        try:
            (row,) = dialect.top([probe], count)
        except Refused as refusal:
            if not refusal.is_about("logprobs") or count in (wanted, TOPS[-1]):
                raise
        else:
            return min(count, len(row.ids)), row
    raise AssertionError("the last one returns or raises")


def _find_model(server: CompletionServer) -> tuple[str, Mapping[str, Any]]:
    """The name of the model on the server, and what the server says about it."""
    answer = server.get(f"{server.server.url}/models")
    try:
        models = {str(model["id"]): model for model in answer["data"]}
    except (KeyError, TypeError):
        raise server.fault(
            "does not list its models",
            "Please check that its address leads to a completion server; it usually ends in /v1.",
        ) from None
    wanted = server.server.model
    names = _listed(list(models))
    if not wanted and len(models) != 1:
        raise server.fault(f"has these models: {names}", SET_MODEL)
    if wanted and wanted not in models:
        raise server.fault(f"has no model {show_value(wanted)}; it has {names}", SET_MODEL)
    name = wanted or next(iter(models))
    return name, models[name]


def _listed(names: Sequence[str]) -> str:
    """The names of models, as many as a sentence can hold: a service may have hundreds."""
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(map(show_value, names[:MOST_NAMES]))}{more}" or "none"


def _check_row(server: CompletionServer, row: Tensor, vocab: int) -> int:
    """The number of log-probs in the first row. Raises RemoteError if they are not those of a row."""
    width = len(row)
    if width < vocab:
        raise server.fault(
            f"sent {width:,} log-probs per token, but the tokenizer here has {vocab:,} tokens",
            "Please let it run the large model of this family.",
        )
    total_nats = float(row.logsumexp(0))
    _check_sum(server, total_nats, total_nats, SUM_TOLERANCE)
    return width


def _check_tokenizer(server: CompletionServer, dialect: Dialect, probe: Sequence[int]) -> None:
    """Check that the server splits a text as this family does, if it can be asked. Raises RemoteError."""
    found = dialect.tokenize(PROBE)
    if isinstance(found, list) and found != list(probe):
        raise server.fault(
            "has another tokenizer than this family: it splits a text into other tokens",
            "Please let it run the large model of this family.",
        )
