"""Tuned models as LoRA adapters on the small base: one copy of the weights, one cache, one forward for all.

A low-rank adapter adds `up @ down @ x` to some of the base's linear layers. Here it is added only to the rows
of the model it belongs to, so a row without an adapter equals the base bit for bit. Reads PEFT's files
(adapter_config.json and adapter_model.safetensors) without needing PEFT; knows no families and no recipes.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from eft_demo.errors import FamilyError, error_text
from eft_demo.families.files import MAX_JSON_BYTES, check_start, read_text
from eft_demo.families.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BROKEN
from eft_demo.models.base import SlotModel
from eft_demo.models.protocol import Slot, Starts

if TYPE_CHECKING:
    from eft_demo.models.hf import TransformersModel

# Config entries that, if set, change what an adapter computes or the base it needs.
UNKNOWN_KINDS = (
    "use_dora", "use_qalora", "use_bdlora", "fan_in_fan_out", "lora_bias", "modules_to_save",
    "layer_replication", "target_parameters", "trainable_token_indices", "alora_invocation_tokens",
    "arrow_config", "kasa_config", "megatron_config",
)  # fmt: skip
PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # other initialisations change the base
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
# Untrusted regular expressions with nested or many repetitions can take exponential time.
_WILD = re.compile(r"\)[*+?{]|([*+?{].*){4}", re.DOTALL)
# As in `families.weights.PLAIN`: others need scales, which the file of an adapter does not have.
PLAIN_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# What Unsloth appends to the names of its copies, on which many adapters of the hub were trained.
COPY = re.compile(r"(-unsloth)?-bnb-[48]bit$")
MERGE = "Please merge it into its base with PEFT's merge_and_unload() and name the merged model instead."


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to one linear layer: `up @ down @ x`; the scale is folded into `up`."""

    down: Tensor  # (rank, in)
    up: Tensor  # (out, rank)


Adapter = Mapping[str, LowRank]  # by the path of the linear layer in the base


class AdapterModel(SlotModel):
    """The `LanguageModel` of one adapter; its rows are in the base's cache."""

    def __init__(self, name: str, group: "AdapterGroup") -> None:
        super().__init__(name, group.base.vocab, group.base.cache)
        self.group = group

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append a block to each row: (rows, block) -> logits (rows, keep, vocab)."""
        return self.group.forward({self.name: (slots, tokens)}, keep)[self.name]


class AdapterGroup:
    """A `ModelGroup` of a base and its adapters. The base can still be used on its own."""

    def __init__(self, base: "TransformersModel", adapters: Mapping[str, Adapter]) -> None:
        self.base, self.adapters = base, dict(adapters)
        self.members = frozenset({base.name, *adapters})
        self._growths = -1  # of the cache, when `_off` was made
        self._off: dict[str, Tensor] = {}  # (rows of the cache, 1, 1) bool, True where an adapter is off
        # A forward that is recorded must do the same for any rows; others leave out adapters that are off.
        self._acting = tuple(adapters) if isinstance(base, Starts) else ()
        base.model.register_forward_pre_hook(self._fit)
        for path in sorted({path for adapter in adapters.values() for path in adapter}):
            base.model.get_submodule(path).register_forward_hook(partial(self._add, path))

    def models(self) -> dict[str, AdapterModel]:
        """A model per adapter, by name."""
        return {name: AdapterModel(name, self) for name in self.adapters}

    @torch.inference_mode()
    def forward(self, parts: Mapping[str, tuple[Sequence[Slot], Tensor]], keep: int = 1) -> dict[str, Tensor]:
        """Append a block to rows of several members: logits (rows, keep, vocab) of each, in one forward."""
        slots = [slot for rows, _ in parts.values() for slot in rows]
        tokens = torch.cat([block for _, block in parts.values()])
        # In storage order all rows are one view rather than a gather.
        order = sorted(range(len(slots)), key=lambda i: slots[i].index)
        place = torch.tensor(order).argsort()  # (rows,) where each row went
        rows = dict(zip(parts, place.split([len(rows) for rows, _ in parts.values()]), strict=True))
        self._fit()
        on, usual = [name for name in self.adapters if name in parts], self._acting
        self._acting = usual or tuple(on)
        for name in on:
            self._off[name][[slot.index for slot in parts[name][0]]] = False
        try:
            logits = self.base.forward([slots[i] for i in order], tokens[order], keep)
        finally:
            self._acting = usual
            self._turn_off()
        return {name: logits[index] for name, index in rows.items()}

    def _turn_off(self) -> None:
        """Turn off all adapters in all rows, as the base needs it on its own."""
        for off in self._off.values():
            off.fill_(True)

    def _fit(self, *_: object) -> None:
        """Have an entry for every row of the cache. Until that grows, a graph finds them at one address."""
        if self._growths != self.base.cache.growths:
            self._growths = self.base.cache.growths
            shape = len(self.base.cache.store[-1]), 1, 1
            device = self.base.cache.devices[0]
            self._off = {name: torch.ones(shape, dtype=torch.bool, device=device) for name in self.adapters}

    def _add(self, path: str, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        for name in self._acting:
            if (part := self.adapters[name].get(path)) is not None:
                added = F.linear(F.linear(args[0], part.down), part.up)  # (rows, block, out)
                off = self._off[name][self.base.cache.rows]
                # Filled rather than multiplied by 0, which would let a broken adapter's NaN through.
                output.add_(added.masked_fill_(off.to(added.device), 0))


def read_adapter(folder: Path, base: nn.Module, base_name: str = "") -> Adapter:
    """Read the adapter in `folder` for the linear layers of `base`, in their dtype and on their device.

    `base_name` is the base's name on the hub, if it has one. Raises FamilyError for missing or damaged files,
    for adapters that are more than low-rank products, and for an adapter of another base.
    """
    try:
        config = json.loads(read_text(folder / ADAPTER_CONFIG, MAX_JSON_BYTES))
        check_start(folder / ADAPTER_WEIGHTS)
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        _check_kind(folder, config)
        _check_base_name(folder, config, base_name)
        return _low_ranks(folder, config, tensors, base)
    except (*BROKEN, re.error) as error:
        raise FamilyError(
            f"The adapter in {folder} cannot be read ({error_text(error)}). It needs {ADAPTER_CONFIG} and "
            f"{ADAPTER_WEIGHTS} as PEFT's save_pretrained writes them. Please save it again or choose "
            "another adapter."
        ) from None


def _check_kind(folder: Path, config: Mapping[str, Any]) -> None:
    kind = config["peft_type"]
    found = [name for name in UNKNOWN_KINDS if config.get(name)]
    found += [f"peft_type {kind}"] if kind != "LORA" else []
    found += ["bias"] if config.get("bias", "none") != "none" else []
    start = config.get("init_lora_weights", True)
    found += [f"init_lora_weights {start}"] if start not in PLAIN_STARTS else []
    if found:
        raise FamilyError(f"The adapter in {folder} is more than plain LoRA ({', '.join(found)}). {MERGE}")


def _check_base_name(folder: Path, config: Mapping[str, Any], base_name: str) -> None:
    trained_on = config.get("base_model_name_or_path") or ""
    # Folder names differ between machines, so only names on the hub can be compared. "./base" is none.
    on_hub = re.fullmatch(r"\w[\w.-]*/[\w.-]+", trained_on)
    if on_hub and base_name and _plain_name(trained_on) != _plain_name(base_name):
        raise FamilyError(
            f"The adapter in {folder} was trained on {trained_on}, but the base here is {base_name}. "
            "Please set adapter_of to the base it was trained on. If that is this one under another name, "
            f"please write {base_name} as base_model_name_or_path into its {ADAPTER_CONFIG}."
        )


def _plain_name(repo: str) -> str:
    """What copies of one model have in common: the name without its owner and the format of its weights."""
    name = repo.lower().rpartition("/")[2].removeprefix("meta-")  # Llama 3.1 was renamed so
    return COPY.sub("", name)


def _low_ranks(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], base: nn.Module
) -> Adapter:
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        found = _KEY.fullmatch(key)
        if found is None:
            raise FamilyError(f"The adapter in {folder} is more than plain LoRA ({key}). {MERGE}")
        sides.setdefault(found[1], {})[found[2]] = tensor
    if not sides:
        raise ValueError(f"{ADAPTER_WEIGHTS} is empty")
    layers = dict(base.named_modules())
    adapter = {}
    for path, side in sides.items():
        down, up, layer = side["A"], side["B"], layers.get(path)
        if odd := [one for one in (down, up) if one.ndim != 2 or one.dtype not in PLAIN_DTYPES]:
            kind = str(odd[0].dtype).removeprefix("torch.")
            raise ValueError(
                f"{path[:80]} has {odd[0].ndim} dimensions of {kind}, not a matrix of plain floats"
            )
        # Quantising changes the shape of a layer's weight, but not its number of features.
        size = (getattr(layer, "out_features", None), getattr(layer, "in_features", None))
        if size != (up.shape[0], down.shape[1]) or up.shape[1] != down.shape[0]:
            raise FamilyError(
                f"The adapter in {folder} does not fit its base: for {path} it has {tuple(up.shape)} x "
                f"{tuple(down.shape)}, but the base has {'no such layer' if layer is None else size}. "
                "Please set adapter_of to the base it was trained on."
            )
        like = next(base.parameters())
        scale = _scale(config, path, rank=down.shape[0])
        adapter[path] = LowRank(down.to(like), (up.float() * scale).to(like))
    return adapter


def _scale(config: Mapping[str, Any], path: str, rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA; patterns set alpha for some layers."""
    patterns = config.get("alpha_pattern") or {}
    if wild := [pattern for pattern in patterns if len(pattern) > 200 or _WILD.search(pattern)]:
        raise ValueError(f"alpha_pattern has {wild[0][:60]!r}, which could take too long to match")
    own = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", path))
    alpha = float(next(own, config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
