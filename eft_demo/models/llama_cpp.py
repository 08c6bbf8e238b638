"""GGUF files, run by llama.cpp inside the process through its C API.

Knows the optional package llama-cpp-python, which carries the library; without it, importing this module
still works. Rows are sequences of one context, whose cache they share: a cell holds one token of one or more
of them.
"""

from __future__ import annotations

import ctypes
import logging
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eft_demo.errors import FamilyError, error_text
from eft_demo.families.checkpoint import Checkpoint, open_gguf
from eft_demo.families.family import Family
from eft_demo.families.gguf_model import model_size
from eft_demo.models.backend import LoadOptions
from eft_demo.models.kv_cache import FIRST_ROWS
from eft_demo.models.memory import CPU, out_of_memory
from eft_demo.models.protocol import SavedRow, Slot

PACKAGE = "llama_cpp"
INSTALL = "pip install 'llama-cpp-python>=0.3.36,<0.4'"  # as the extra `gguf` of pyproject.toml says
MAX_ROWS = 256  # llama.cpp's own limit of sequences
BATCH = 128  # tokens of one call: as many as the engine reads of a prompt at once
ALL_LAYERS = -1
GPU = "gpu"  # as a device: one that llama.cpp uses and torch does not, such as Apple's
F32, F16 = 0, 1  # the library's numbers of formats
# What the loader should use instead of the file's entries: we have a tokenizer, so llama.cpp's own, which
# ends the process for some broken files, need not be built.
NO_TOKENIZER = (("tokenizer.ggml.model", b"none"),)
KEPT_LINES = 8
WARNINGS = (3, 4)  # the levels of warnings and errors

log = logging.getLogger(__name__)


def is_installed() -> bool:
    """Whether llama.cpp is there."""
    return find_spec(PACKAGE) is not None


def check_installed(model: str) -> None:
    """Raises FamilyError, with the command that installs llama.cpp, if it is missing."""
    if not is_installed():
        raise FamilyError(
            f"The model {model} is a GGUF file, which needs llama.cpp. Please install it: `{INSTALL}`, then "
            "start again."
        )


def offers_gpu() -> bool:
    """Whether llama.cpp was built for a GPU of this machine."""
    try:
        return is_installed() and bool(_library().llama_supports_gpu_offload())
    except FamilyError:
        return False


def load(family: Family, checkpoint: Checkpoint, options: LoadOptions) -> LlamaCppModel:
    """The model in a GGUF file. Raises FamilyError, MemoryError, or ValueError with llama.cpp's reason."""
    check_installed(checkpoint.role)
    file = open_gguf(checkpoint)
    size = model_size(file)
    return LlamaCppModel(
        checkpoint.role,
        checkpoint.path,
        (file.text("general.architecture"), size.width),
        min(family.context, size.context),
        family.vocab,
        options.device,
        # A file in float32 is for exact comparisons.
        F32 if file.format == "F32" else F16,
    )


class LlamaCppModel:
    """A `LanguageModel` in a GGUF file. The logits are float32, on the CPU."""

    def __init__(
        self,
        name: str,
        path: Path,
        kind: tuple[str, int],
        context: int,
        vocab: int,
        device: str = CPU,
        cache_format: int = F16,
    ) -> None:
        """`kind` is the architecture with the width of the logits. Raises ValueError or MemoryError."""
        self.name, self.vocab, self.context = name, vocab, context
        self.device, self.cache_format = device, cache_format
        self.width = kind[1]
        self._library = _library()
        self._handles = _Handles(self._load(path, *kind))
        weakref.finalize(self, _free, self._library, self._handles)
        self._rows = 0  # that the context has room for
        self._grow(FIRST_ROWS)
        self._batch = _Batch(self._library)
        self._slots: dict[int, Slot] = {}  # by sequence id, which is the slot's index
        self._held: dict[int, int] = {}  # tokens in the cache, by id: more than the length after a rollback
        self._threads = 0

    def join(self) -> Slot:
        """A new, empty row. Raises OutOfMemory."""
        free = next((index for index in range(self._rows) if index not in self._slots), self._rows)
        if free == self._rows:
            try:
                if self._rows >= MAX_ROWS:
                    raise MemoryError(f"llama.cpp keeps at most {MAX_ROWS} texts")
                self._grow(min(2 * self._rows, MAX_ROWS))
            except MemoryError:
                raise out_of_memory(self.name, "keep another text") from None
        slot = self._slots[free] = Slot(free)
        self._held[free] = 0
        return slot

    def leave(self, slot: Slot) -> None:
        """Free the row. Freeing a free row does nothing."""
        if slot.index < 0:
            return
        self._keep(slot.index, 0)
        del self._slots[slot.index], self._held[slot.index]
        slot.index = -1

    def reset(self) -> None:
        """Free every row."""
        self._library.llama_memory_clear(self._memory, False)
        for slot in self._slots.values():
            slot.index = -1
        self._slots.clear()
        self._held.clear()

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Let `target` share the cells of `source`."""
        self._keep(target.index, 0)
        if source.length:
            self._library.llama_memory_seq_cp(self._memory, source.index, target.index, 0, source.length)
        self._held[target.index] = target.length = source.length

    def save(self, slot: Slot, most_bytes: int) -> SavedRow | None:
        """Copy what the row holds to memory of ours; None if that takes more than `most_bytes`."""
        self._keep(slot.index, slot.length)
        size = self._library.llama_state_seq_get_size(self._handles.context, slot.index)
        if size > most_bytes:
            return None
        return SavedRow(self._state(slot.index, size), size, slot.length)

    def restore(self, slot: Slot, saved: SavedRow, length: int) -> None:
        """Make the empty row hold the first `length` of the saved tokens. Raises MemoryError.

        Of layers with a sliding window, llama.cpp saves only the last window, which fits no earlier place.
        """
        window = self._library.llama_model_n_swa(self._handles.model)
        if 0 < window < saved.tokens != length:
            return
        self._held[slot.index] = self.context  # at most, also if it fails half-way
        try:
            self._write_state(self._handles.context, slot.index, saved.content, saved.size_bytes)
        except BaseException:
            self._keep(slot.index, 0)
            raise
        self._keep(slot.index, length)
        slot.length = length

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append a block to each row: (rows, block) -> logits (rows, keep, vocab) on the tokens' device.

        Raises OutOfMemory, ValueError if a row would outgrow the context, and RuntimeError.
        """
        rows, block = tokens.shape
        longest = max(slot.length for slot in slots) + block
        if longest > self.context:
            raise ValueError(f"a row of {longest} tokens exceeds the context of {self.context}")
        self._follow_threads()
        for slot in slots:
            self._keep(slot.index, slot.length)
        indices = np.repeat([slot.index for slot in slots], block)
        positions = (np.array([[slot.length] for slot in slots]) + np.arange(block)).ravel()
        wanted = np.tile(np.arange(block) >= block - keep, rows)
        flat = tokens.cpu().numpy().ravel()
        logits = torch.empty(rows * keep, self.vocab)
        done = 0
        for slot in slots:
            self._held[slot.index] = slot.length + block  # at most, if a part fails
        for start in range(0, rows * block, BATCH):
            part = slice(start, start + BATCH)
            count = self._batch.fill(flat[part], positions[part], indices[part], wanted[part])
            self._decode()
            logits[done : done + count] = self._logits(count)
            done += count
        for slot in slots:
            slot.length += block
        return logits.view(rows, keep, self.vocab).to(tokens.device)

    def _keep(self, index: int, length: int) -> None:
        """Drop what the row holds beyond `length` tokens."""
        if self._held[index] > length:
            self._library.llama_memory_seq_rm(self._memory, index, length, -1)
            self._held[index] = length

    def _decode(self) -> None:
        answer = self._library.llama_decode(self._handles.context, self._batch.struct)
        if answer in (1, -2):  # no cells, or no memory
            raise out_of_memory(self.name, "take this step")
        if answer:
            raise RuntimeError(f"llama.cpp failed with {answer}: {_last_lines()}")

    def _logits(self, count: int) -> Tensor:
        """The logits of the last call, (count, vocab): a view that the next call overwrites."""
        if not count:
            return torch.empty(0, self.vocab)
        start = self._library.llama_get_logits(self._handles.context)
        found = torch.from_numpy(np.ctypeslib.as_array(start, (count, self.width)))
        # Embeddings padded beyond the tokenizer's vocabulary must not reach the mixing.
        return found[:, : self.vocab]

    def _follow_threads(self) -> None:
        """Use as many threads as torch does, which the engine sets."""
        threads = torch.get_num_threads()
        if threads != self._threads:
            self._library.llama_set_n_threads(self._handles.context, threads, threads)
            self._threads = threads

    def _load(self, path: Path, architecture: str, width: int) -> Any:
        library = self._library
        options = library.llama_model_default_params()
        # Not mapped into memory: a file that is cut short later must not end the process.
        options.load_mode = library.LLAMA_LOAD_MODE_NONE
        options.n_gpu_layers = 0 if self.device == CPU else ALL_LAYERS
        if self.device.startswith("cuda:"):
            options.split_mode = library.LLAMA_SPLIT_MODE_NONE
            options.main_gpu = int(self.device.removeprefix("cuda:"))
        overrides = _overrides(library, architecture, width)
        options.kv_overrides = overrides
        _lines.clear()
        model = library.llama_model_load_from_file(str(path.absolute()).encode(), options)
        if not model:
            raise _failure("the model was not loaded")
        found = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
        if found != width:
            library.llama_model_free(model)
            raise ValueError(f"llama.cpp finds {found:,} tokens and the file has {width:,}")
        return model

    def _grow(self, rows: int) -> None:
        """Make room for `rows`, with what the rows hold. If this raises, nothing is changed."""
        context = self._new_context(rows)
        if self._rows:
            try:
                self._hand_over(context)
            except BaseException:
                self._library.llama_free(context)
                raise
            self._library.llama_free(self._handles.context)
        self._handles.context, self._rows, self._threads = context, rows, 0
        self._memory = self._library.llama_get_memory(context)

    def _new_context(self, rows: int) -> Any:
        library = self._library
        options = library.llama_context_default_params()
        options.n_ctx, options.n_seq_max = rows * self.context, rows
        options.n_batch, options.n_ubatch = max(BATCH, rows), BATCH  # it wants room for an output of each row
        # Rows of any length share the room, and a copied prefix costs nothing.
        options.kv_unified = True
        options.swa_full = True  # or sliding windows forget what a rollback needs
        options.type_k = options.type_v = self.cache_format
        if self.cache_format == F32:  # fused attention would round keys and values to 16 bits
            options.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        options.offload_kqv = options.op_offload = self.device != CPU
        options.no_perf = True
        _lines.clear()
        context = library.llama_init_from_model(self._handles.model, options)
        if not context:
            raise _failure("there is no context")
        return context

    def _hand_over(self, context: Any) -> None:
        """Copy what the rows hold into a new context. Raises MemoryError."""
        library = self._library
        for index, slot in self._slots.items():
            self._keep(index, slot.length)
            if not slot.length:
                continue
            size = library.llama_state_seq_get_size(self._handles.context, index)
            self._write_state(context, index, self._state(index, size), size)

    def _state(self, index: int, size: int) -> Any:
        """What a row of the present context holds, in the library's own form."""
        state = (ctypes.c_uint8 * size)()
        self._library.llama_state_seq_get_data(self._handles.context, state, size, index)
        return state

    def _write_state(self, context: Any, index: int, state: Any, size: int) -> None:
        if not self._library.llama_state_seq_set_data(context, state, size, index):
            raise MemoryError("llama.cpp cannot copy the cache")


@dataclass(slots=True)
class _Handles:
    """What the library allocated for a model."""

    model: Any
    context: Any = None


def _free(library: Any, handles: _Handles) -> None:
    """Free the context, then the model, as it must be."""
    if handles.context:
        library.llama_free(handles.context)
    library.llama_model_free(handles.model)


class _Batch:
    """The tokens of one call, in memory that llama.cpp reads."""

    def __init__(self, library: Any) -> None:
        self.struct = library.llama_batch_init(BATCH, 0, 1)
        self._free = weakref.finalize(self, library.llama_batch_free, self.struct)
        batch = self.struct
        shape = (BATCH,)
        self._tokens = np.ctypeslib.as_array(batch.token, shape)
        self._positions = np.ctypeslib.as_array(batch.pos, shape)
        self._wanted = np.ctypeslib.as_array(batch.logits, shape)
        np.ctypeslib.as_array(batch.n_seq_id, shape)[:] = 1

    def fill(self, tokens: Any, positions: Any, indices: Any, wanted: Any) -> int:
        """Set the tokens, with their rows; the number whose logits are wanted."""
        count = self.struct.n_tokens = len(tokens)
        self._tokens[:count], self._positions[:count], self._wanted[:count] = tokens, positions, wanted
        for place, index in enumerate(indices.tolist()):
            self.struct.seq_id[place][0] = index
        return int(wanted.sum())


def _overrides(library: Any, architecture: str, width: int) -> Any:
    """Entries that replace those of the file; the last one is empty."""
    entries = (library.llama_model_kv_override * (len(NO_TOKENIZER) + 2))()
    for entry, (key, text) in zip(entries, NO_TOKENIZER, strict=False):
        entry.tag, entry.key = library.LLAMA_KV_OVERRIDE_TYPE_STR, key.encode()
        entry.value.val_str = text
    number = entries[len(NO_TOKENIZER)]
    number.tag, number.key = library.LLAMA_KV_OVERRIDE_TYPE_INT, f"{architecture}.vocab_size".encode()
    number.value.val_i64 = width
    return entries


@cache
def _library() -> Any:
    """The C API, with its messages going to the log instead of the terminal. Raises FamilyError."""
    try:
        from llama_cpp import llama_cpp as api  # noqa: PLC0415  # optional, and loads a library
    except (ImportError, OSError, RuntimeError) as error:  # its own dependencies, or a driver, may be missing
        message = f"llama.cpp cannot be started ({error_text(error)}). Please try `{INSTALL}`."
        raise FamilyError(message) from None
    if not hasattr(api, "LLAMA_LOAD_MODE_NONE"):
        raise FamilyError(f"The installed llama-cpp-python is too old. Please run `{INSTALL}`.")
    api.llama_log_set(_log_callback(api), ctypes.c_void_p(0))
    api.llama_backend_init()
    return api


_lines: deque[str] = deque(maxlen=KEPT_LINES)  # llama.cpp's last warnings and errors


@cache  # the library keeps a pointer to it
def _log_callback(api: Any) -> Any:
    def keep(level: int, text: bytes, data: object) -> None:
        line = text.decode("utf-8", "replace").strip()
        if level in WARNINGS and line:
            _lines.append(line)
        log.debug("%s", line)

    return api.llama_log_callback(keep)


def _last_lines() -> str:
    return "; ".join(_lines)[-300:] or "no reason given"


def _failure(what: str) -> Exception:
    """The error for what llama.cpp refused, by its last lines."""
    reason = _last_lines()
    if "alloc" in reason or "memory" in reason:
        return MemoryError(reason)
    return ValueError(f"{what}: {reason}")
