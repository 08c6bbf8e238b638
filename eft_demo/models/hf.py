"""Any decoder of the transformers library on the slot cache; the reference for the fused path.

Importing this module imports transformers, which takes seconds, so import it only where needed.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.models.falcon import modeling_falcon
from transformers.utils import logging as transformers_logging

from eft_demo.families.checkpoint import read_config
from eft_demo.models.base import SlotModel, step
from eft_demo.models.graphs import CudaRecorder, Graphs
from eft_demo.models.kv_cache import SlotCache
from eft_demo.models.memory import CPU
from eft_demo.models.protocol import Slot
from eft_demo.models.quantise import INT8, NONE
from eft_demo.models.shape import cache_shape

# Without layer types, these have their window in every layer; others ignore one that their config names.
WINDOWED = ("mistral", "phi3")
PLAIN_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class SlotLayer(CacheLayerMixin):
    """One layer of the library's cache, kept in a `SlotCache`."""

    def __init__(self, slots: SlotCache, layer: int) -> None:
        super().__init__()
        self.slots, self.layer = slots, layer
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the storage exists from the start."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write (rows, kv_heads, block, head_dim) at the rows' positions; return the rows' whole content."""
        new = torch.stack([key_states, value_states], 2)  # (rows, kv_heads, 2, block, head_dim)
        return self.slots.write(self.layer, new.permute(0, 3, 2, 1, 4).flatten(0, 1))

    def get_seq_length(self) -> int:
        """Tokens of the longest row before the current block."""
        return self.slots.end - self.slots.positions.shape[1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(keys in view, offset)."""
        return self.slots.end, 0

    def get_max_length(self) -> int:
        """Tokens a row can hold."""
        return self.slots.context


class TransformersModel(SlotModel):
    """A `PreTrainedModel` with one cache row per `Slot`."""

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        context: int,
        vocab: int,
        dtype: torch.dtype | None = None,
    ) -> None:
        config = model.config
        shape = cache_shape(config.to_dict())
        devices = _layer_devices(model, shape.layers)
        # A quantised model reports the dtype of its 4-bit or 8-bit storage.
        dtype = model.dtype if dtype is None else dtype
        super().__init__(
            name, vocab, SlotCache(shape.layers, shape.kv_heads, shape.head_dim, context, dtype, devices)
        )
        self.model = model.eval().requires_grad_(False)
        self._library_cache = Cache(layers=[SlotLayer(self.cache, i) for i in range(shape.layers)])
        # Models with layer types take one mask per type and then build none of their own.
        self._mask_types = tuple(dict.fromkeys(getattr(config, "layer_types", None) or ()))
        window = getattr(config, "sliding_window", None)
        self._window = int(window or context)
        has_window = bool(window) and config.model_type in WINDOWED
        self._only_kind = "sliding_attention" if has_window else "full_attention"
        # Eager attention adds its mask to the scores; the fused kinds take a mask of booleans.
        self._additive = config._attn_implementation == "eager"

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        attention_mask: object
        if self._mask_types:
            attention_mask = {kind: self._as_added(self._mask_of(kind, mask)) for kind in self._mask_types}
        elif (only := self._mask_of(self._only_kind, mask)) is None:
            # With None the library would build its own mask.
            attention_mask = self._as_added(torch.ones(1, 1, 1, 1, dtype=torch.bool, device=tokens.device))
        else:
            attention_mask = self._as_added(only)
        return self.model(
            input_ids=tokens,
            attention_mask=attention_mask,
            position_ids=self.cache.positions,
            past_key_values=self._library_cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits

    def _mask_of(self, kind: str, mask: Tensor | None) -> Tensor | None:
        """The mask for layers of this kind; sliding layers see only the last `window` tokens."""
        if kind != "sliding_attention" or self.cache.end <= self._window:
            return mask
        positions = self.cache.positions[:, None, :, None]  # (rows, 1, block, 1)
        keys = torch.arange(self.cache.end, device=positions.device)
        near = (keys <= positions) & (keys > positions - self._window)
        return near if mask is None else mask & near

    def _as_added(self, mask: Tensor | None) -> Tensor | None:
        if mask is None or not self._additive:
            return mask
        dtype = self.cache.dtype
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(
            ~mask, torch.finfo(dtype).min
        )


class GraphedModel(TransformersModel):
    """A model on one GPU, whose short forwards run as CUDA graphs, beside those of other models."""

    @cached_property
    def graphs(self) -> Graphs:
        """The graphs of its short forwards."""
        return Graphs(self.cache, self._logits, CudaRecorder(self.cache.devices[0]))

    def start(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Callable[[], Tensor]:
        """Begin what `forward` does; the result waits for its logits, and is called before the next start.

        Lengths grow at once. Raises OutOfMemory.
        """

        def begin() -> Callable[[], Tensor]:
            if finish := self.graphs.start(slots, tokens, keep):
                self.cache.commit(slots, tokens.shape[1])
                return finish
            logits = self._append(slots, tokens, keep)
            return lambda: logits

        finish = step(self.name, begin)
        return lambda: step(self.name, finish)[..., : self.vocab]

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append a block to each row: (rows, block) -> logits (rows, keep, vocab) on the model's device."""
        return self.start(slots, tokens, keep)()


def read_pretrained(
    folder: Path, dtype: torch.dtype, quantisation: str = NONE, device: str = CPU
) -> PreTrainedModel:
    """Load a transformers model from a folder. Raises ValueError if weights are missing or do not fit."""
    transformers_logging.disable_progress_bar()
    # bitsandbytes warns at every call that 8-bit products are computed in float16, and when it is imported
    # that it would rather have another package.
    for name in ("bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # With it, steps without a graph and long prompts took several times as long: each has another length.
    torch.backends.cuda.enable_cudnn_sdp(False)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    config = _config(folder, dtype)
    is_quantised = bool(getattr(config, "quantization_config", None))  # in its files
    # Only eager attention supports capped attention logits (Gemma 2).
    attention = "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"
    if quantisation != NONE:
        options["quantization_config"] = _bits(quantisation, dtype)
        # Falcon uses its own linear class, equivalent to nn.Linear. The library quantises only nn.Linear, so
        # without this it would load all 40 billion weights unquantised.
        modeling_falcon.FalconLinear = nn.Linear
    if quantisation != NONE or device != CPU:
        options["device_map"] = "auto" if device == "auto" else {"": device}
    model, info = AutoModelForCausalLM.from_pretrained(
        folder.absolute(),  # a relative one could also be the name of a repository in the hub's cache
        config=config,
        generation_config=GenerationConfig(),  # `families` reads the one in the folder
        dtype=dtype,
        attn_implementation=attention,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    # The library would silently fill missing weights with random numbers.
    missing = sorted(str(key) for key in [*info["missing_keys"], *info["mismatched_keys"]])
    if missing:
        raise ValueError(f"{len(missing)} weights are missing or have the wrong size, such as {missing[0]}")
    if is_quantised:
        _convert_plain_weights(model, dtype)
    return model


def _config(folder: Path, dtype: torch.dtype) -> PreTrainedConfig:
    """The model's configuration, with `dtype` as what a checkpoint of 4-bit weights is computed in."""
    described = dict(read_config(folder))
    stored = described.get("quantization_config") or {}
    if stored.get("load_in_4bit"):  # the file names what its makers computed in
        compute = str(dtype).removeprefix("torch.")
        described["quantization_config"] = {**stored, "bnb_4bit_compute_dtype": compute}
    return CONFIG_MAPPING[described["model_type"]].from_dict(described)


def _convert_plain_weights(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Convert what a checkpoint does not store quantised, which the library leaves in the stored dtype."""
    for name, parameter in model.named_parameters():
        if parameter.dtype in PLAIN_DTYPES and name.endswith((".weight", ".bias")):
            parameter.data = parameter.data.to(dtype)


def _bits(quantisation: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    if quantisation == INT8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantisation,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _layer_devices(model: PreTrainedModel, layers: int) -> list[torch.device]:
    """The device for each layer's keys and values: the one that holds its weights."""
    found = [model.device] * layers
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        for place, part in enumerate(parts[:-1]):
            if part in ("layers", "h") and parts[place + 1].isdecimal():
                found[int(parts[place + 1])] = parameter.device
    return found
