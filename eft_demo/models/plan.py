"""The memory plan: how much each model of a family needs and where it goes, worked out before loading.

Needed memory is the weights by dtype and quantisation, the rows' keys and values, and a margin; free memory
is what the devices report. Knows the catalogue and the headers of local files; loads nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from eft_demo.errors import FamilyError, OutOfMemory
from eft_demo.families.catalogue import Entry, RoleEntry, Shape
from eft_demo.families.checkpoint import read_config
from eft_demo.families.family import chosen_roles
from eft_demo.families.gguf import read_gguf
from eft_demo.families.gguf_model import model_size
from eft_demo.families.hub import cached_folder
from eft_demo.families.weights import ADAPTER_WEIGHTS, BROKEN, file_headers, headers, missing_files
from eft_demo.method.roles import is_large
from eft_demo.models import llama_cpp
from eft_demo.models.dtype import choose_dtype
from eft_demo.models.fused_weights import is_fusable
from eft_demo.models.kv_cache import FIRST_ROWS
from eft_demo.models.memory import CPU, REMOTE, free_memory
from eft_demo.models.quantise import (
    BYTES_PER_WEIGHT,
    NF4,
    NONE,
    StoredWeights,
    Weights,
    count_stored,
    count_weights,
)
from eft_demo.models.shape import CacheShape, cache_shape, longest_row
from eft_demo.settings import DEFAULT_THREADS, Settings

MIN_ROWS = 4  # three columns, plus one that colours a column
# Activations of a prompt chunk, float32 logits and allocator rounding; on a GPU also its context.
MARGIN_SHARE, MARGIN_CPU_BYTES, MARGIN_GPU_BYTES = 0.03, 300_000_000, 900_000_000


@dataclass(frozen=True, slots=True)
class Placement:
    """How and where the weights of one role are stored, and why."""

    role: str
    source: str  # repository or folder
    dtype: torch.dtype
    quantisation: str
    device: str  # cpu, cuda:0, `auto` = spread over several by accelerate, or remote = of a server
    parameters: int
    weights_bytes: int
    cache_bytes: int
    here: bool  # whether the files are on this machine
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything goes. `problem` says what does not fit and what to do; it is empty if all fits."""

    placements: tuple[Placement, ...]
    rows: int  # how many full sequences there is room for
    needed_bytes: Mapping[str, int]  # by device, with MIN_ROWS full sequences
    full_bytes: Mapping[str, int]  # by device, with `rows` full sequences
    free_bytes: Mapping[str, int]  # by device
    problem: str = ""
    warning: str = ""

    @property
    def fits(self) -> bool:
        """Whether the family fits into memory, as far as the plan can say."""
        return not self.problem

    def of(self, role: str) -> Placement:
        """The placement of one role."""
        return next(place for place in self.placements if place.role == role)

    def check(self) -> None:
        """Raises OutOfMemory if the family does not fit."""
        if self.problem:
            raise OutOfMemory(self.problem)


def engine_threads(entry: Entry, settings: Settings) -> int:
    """Torch threads for a family on a CPU: forwards of the bundled models are too short for several."""
    return settings.threads or (DEFAULT_THREADS if entry.bundled else os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A family as the menu shows it."""

    name: str
    title: str
    licence: str
    note: str
    gated: bool
    pinned: bool
    here: bool  # whether all files are on this machine
    download_bytes: int  # 0 if the family file gives no sizes
    parameters: Mapping[str, int]  # by role
    plan: Plan


def menu_entry(entry: Entry, settings: Settings, free: Mapping[str, int] | None = None) -> MenuEntry:
    """The menu entry of one family, with its plan on this machine."""
    plan = make_plan(entry, settings, free=free)
    missing = [place for place in plan.placements if not (place.here or entry.roles[place.role].same_as)]
    return MenuEntry(
        name=entry.name,
        title=entry.title,
        licence=entry.licence,
        note=entry.note,
        gated=entry.gated,
        pinned=entry.pinned,
        here=not missing,
        download_bytes=sum(_stored_bytes(entry.roles[place.role]) for place in missing),
        parameters={
            place.role: place.parameters
            for place in plan.placements
            if entry.roles[place.role].loaded_with is None
        },
        plan=plan,
    )


def _stored_bytes(role: RoleEntry) -> int:
    """The size of a repository's files; 0 if the family file does not say."""
    if role.shape is None:
        return 0
    if role.shape.quantised:
        return _weights_of(role.shape).bytes(torch.bfloat16, NONE)
    return role.shape.parameters * role.shape.stored_bytes


def _weights_of(shape: Shape) -> Weights | StoredWeights:
    """The weights of a model that is not downloaded yet."""
    other = shape.width * shape.hidden * (1 if shape.tied else 2)
    weights = Weights(shape.parameters - other, other)
    if not shape.quantised:
        return weights
    packed = int(weights.linear * BYTES_PER_WEIGHT[shape.quantised])
    return StoredWeights(weights.linear, packed, other)


def make_plan(
    entry: Entry,
    settings: Settings,
    roles: Iterable[str] | None = None,
    folders: Mapping[str, Path] | None = None,
    free: Mapping[str, int] | None = None,
) -> Plan:
    """The best placement of the family that fits, or the last one tried, with the reason why it does not.

    `folders` has the folders of downloaded roles; `free` defaults to free_memory().
    """
    known = {role: _measure(entry, role, folders) for role in chosen_roles(entry, roles)}
    room = dict(free_memory() if free is None else free)
    plan = Plan((), 0, {}, {}, room)
    for strategy in _strategies(entry, settings, room):
        rows = settings.max_sequences
        if any(measure.entry.is_gguf for measure in known.values()):
            rows = min(rows, llama_cpp.MAX_ROWS)
        while True:
            plan = _place(known, strategy, rows, room, settings.prefix_cache_mb * 1_000_000)
            if plan.fits:
                return plan
            if rows <= MIN_ROWS:
                break
            rows = max(rows // 2, MIN_ROWS)
    return plan


@dataclass(frozen=True, slots=True)
class _Measure:
    """What is known about one role before it is loaded."""

    entry: RoleEntry
    weights: Weights | StoredWeights
    cache: CacheShape | None
    context: int
    here: bool
    is_fused: bool = False  # whether the fused pass may run it, if it is on a CPU and not quantised
    stored_bytes: int = 0  # of a GGUF file, as are the next two
    format: str = ""
    width: int = 0  # of its logits


@dataclass(frozen=True, slots=True)
class _Strategy:
    """How a family is placed: how its large models are stored, and where the large and small ones go."""

    quantisation: str
    dtype: torch.dtype
    large: str
    small: str
    reason: str
    warning: str = ""
    other_gpu: bool = False  # llama.cpp may use one that torch does not know


def _strategies(entry: Entry, settings: Settings, room: Mapping[str, int]) -> list[_Strategy]:
    """What to try, from the best to the last resort."""
    wanted = settings.quantisation
    kinds = (NONE, NF4) if wanted == "auto" else (wanted,)
    chosen = choose_dtype(settings)
    gpus = [device for device in room if device != CPU]
    if entry.bundled or not gpus or settings.device == CPU:
        other = settings.device != CPU and not gpus
        return [_Strategy(kind, chosen.dtype, CPU, CPU, chosen.reason, other_gpu=other) for kind in kinds]
    bf16 = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else True
    dtype = torch.float32 if settings.dtype == "fp32" else torch.bfloat16 if bf16 else torch.float16
    best = max(gpus, key=lambda device: room[device])
    strategies = [
        _Strategy(kind, dtype, best, best, f"on {best}, which has the most free memory") for kind in kinds
    ]
    if len(gpus) > 1:
        spread = f"spread over {len(gpus)} GPUs, because it does not fit on one"
        strategies += [_Strategy(kind, dtype, "auto", best, spread) for kind in kinds]
    slow = "The large model is in CPU memory, because it does not fit on a GPU: expect seconds per token."
    last_resort = "in CPU memory, because it does not fit on a GPU"
    strategies += [_Strategy(kind, dtype, CPU, best, last_resort, slow) for kind in kinds]
    return strategies


def _place(
    known: Mapping[str, _Measure], strategy: _Strategy, rows: int, room: Mapping[str, int], prefix_bytes: int
) -> Plan:
    placements, full = _filled(known, strategy, rows, room)
    if CPU in full and rows > MIN_ROWS:  # with less room, the prefix cache is emptied when memory ends
        full[CPU] += prefix_bytes
    _, needed = _filled(known, strategy, min(rows, MIN_ROWS), room)
    short = [device for device in full if full[device] > room.get(device, 0)]
    problem = _problem(short[0], full, room, placements, strategy) if short else ""
    return Plan(placements, rows, needed, full, dict(room), problem, "" if short else strategy.warning)


def _filled(
    known: Mapping[str, _Measure], strategy: _Strategy, rows: int, room: Mapping[str, int]
) -> tuple[tuple[Placement, ...], dict[str, int]]:
    """The placements with room for `rows` full sequences, and the bytes they take by device."""
    placements = _share_rows(
        tuple(_placement(role, measure, strategy, rows) for role, measure in known.items()), known
    )
    gpus = [device for device in room if device != CPU]
    taken: dict[str, int] = {}
    for place in placements:
        if place.device == REMOTE:
            continue
        # accelerate fills the GPUs about evenly.
        # Apple's GPUs, which only llama.cpp uses here, have no memory of their own.
        devices = gpus if place.device == "auto" else [place.device.replace(llama_cpp.GPU, CPU)]
        for device in devices:
            share = (place.weights_bytes + place.cache_bytes) // len(devices)
            taken[device] = taken.get(device, 0) + share
    for device, size in taken.items():
        margin = MARGIN_CPU_BYTES if device == CPU else MARGIN_GPU_BYTES
        taken[device] = size + int(MARGIN_SHARE * size) + margin
    return placements, taken


def _share_rows(placements: tuple[Placement, ...], known: Mapping[str, _Measure]) -> tuple[Placement, ...]:
    """Count the rows of all behaviours on one base once: they share its cache, and a text has one of them."""
    counted: set[str] = set()
    shared = []
    for place in placements:
        base = known[place.role].entry.loaded_with
        shared.append(replace(place, cache_bytes=0) if base in counted else place)
        counted |= {base} if base else set()
    return tuple(shared)


def _placement(role: str, measure: _Measure, strategy: _Strategy, rows: int) -> Placement:
    if measure.entry.server is not None:
        return _remote_placement(role, measure.entry)
    if measure.entry.is_gguf:
        return _gguf_placement(role, measure, strategy, rows)
    large = is_large(measure.entry.same_as or role)
    quantisation, weights_bytes, reason = _weights(measure, strategy, large)
    slots = _slots(rows)
    cache, device = measure.cache, strategy.large if large else strategy.small
    # The fused pass keeps keys and values in float32, whatever the weights' dtype.
    is_fused = measure.is_fused and device == CPU and quantisation == NONE
    item_bytes = torch.float32.itemsize if is_fused else strategy.dtype.itemsize
    return Placement(
        role=role,
        source=measure.entry.source,
        dtype=strategy.dtype,
        quantisation=quantisation,
        device=device,
        parameters=measure.weights.parameters,
        weights_bytes=weights_bytes,
        cache_bytes=cache.bytes(slots * measure.context, item_bytes) if cache else 0,
        here=measure.here,
        reason=reason,
    )


def _weights(measure: _Measure, strategy: _Strategy, large: bool) -> tuple[str, int, str]:
    """A model's quantisation, the bytes of its weights, and why they are stored and placed like this."""
    entry, weights, dtype = measure.entry, measure.weights, strategy.dtype
    quantisation = strategy.quantisation if large else NONE
    if entry.same_as is not None:  # counted with that role
        return quantisation, 0, f"the same model as {entry.same_as}"
    if entry.adapter_of is not None:  # only its base is quantised
        return quantisation, weights.bytes(dtype, NONE), f"an adapter on {entry.adapter_of}"
    if isinstance(weights, StoredWeights):
        return NONE, weights.bytes(dtype, NONE), "already quantised, loaded as it is"
    reason = strategy.reason
    if not weights.parameters:
        reason = "its size is unknown until it is downloaded"
    elif not large and strategy.quantisation != NONE:
        reason += "; not quantised, since the error would enter the small models' difference twice"
    return quantisation, weights.bytes(dtype, quantisation), reason


def _slots(rows: int) -> int:
    """Rows that a cache has room for once it holds this many: it grows by doubling."""
    return 1 << (rows - 1).bit_length()


def _gguf_placement(role: str, measure: _Measure, strategy: _Strategy, rows: int) -> Placement:
    """A GGUF file is loaded as it is, and goes to a GPU if llama.cpp was built for one."""
    device = strategy.large if is_large(role) else strategy.small
    if device == CPU and strategy.other_gpu and llama_cpp.offers_gpu():
        device = llama_cpp.GPU
    elif device != CPU and not llama_cpp.offers_gpu():
        device = CPU
    slots = _slots(rows)
    # While it grows, the old cache and the new one are there.
    kept = slots if slots <= FIRST_ROWS else slots + slots // 2
    item_bytes = torch.float32.itemsize if measure.format == "F32" else torch.float16.itemsize
    cache = measure.cache
    # llama.cpp keeps room for the logits of a batch, and of a token of each row.
    buffers = (llama_cpp.BATCH + slots) * measure.width * torch.float32.itemsize
    return Placement(
        role=role,
        source=measure.entry.source,
        dtype=torch.float32,  # of the logits
        quantisation=measure.format or NONE,
        device=device,
        parameters=measure.weights.parameters,
        weights_bytes=measure.stored_bytes,
        cache_bytes=buffers + (cache.bytes(kept * measure.context, item_bytes) if cache else 0),
        here=measure.here,
        reason=f"a GGUF file{' in ' + measure.format if measure.format else ''}, run by llama.cpp",
    )


def _remote_placement(role: str, entry: RoleEntry) -> Placement:
    """A model on a server takes no memory here. How it is stored there is not known."""
    assert entry.server is not None
    dtype = torch.float32  # of the log-probs
    reason = f"remote, on the server {entry.server.address}"
    return Placement(role, entry.source, dtype, NONE, REMOTE, 0, 0, 0, True, reason)


def _measure_gguf(entry: Entry, given: RoleEntry, path: Path | None) -> _Measure:
    """Measure a role by its GGUF file's header; nothing is known of one that is not downloaded."""
    path = path or cached_folder(str(given.repo), given.revision, gguf=given.gguf)
    try:
        if path is not None:
            file = read_gguf(path)
            size = model_size(file)
            weights = Weights(0, sum(tensor.elements for tensor in file.tensors.values()))
            shape = CacheShape(size.layers, size.kv_heads, size.head_dim)
            context = min(entry.context, size.context)
            stored = file.weights_bytes
            return _Measure(given, weights, shape, context, True, False, stored, file.format, size.width)
    except (*BROKEN, FamilyError):
        pass  # load_family reports what is wrong with the file
    return _Measure(given, Weights(0, 0), None, entry.context, path is not None and path.is_file())


def _measure(entry: Entry, role: str, folders: Mapping[str, Path] | None) -> _Measure:
    """Measure a role by its local files, or else by the catalogue."""
    given = entry.roles[role]
    if given.server is not None:
        return _Measure(given, Weights(0, 0), None, entry.context, True)
    if given.is_gguf:
        return _measure_gguf(entry, given, (folders or {}).get(role) or given.path)
    is_adapter = given.adapter_of is not None
    folder = (folders or {}).get(role) or given.path
    folder = folder or cached_folder(str(given.repo), given.revision, is_adapter)
    if given.adapter_of is not None:
        return _measure_adapter(given, folder, _measure(entry, given.adapter_of, folders))
    if given.same_as is not None:
        return replace(_measure(entry, given.same_as, folders), entry=given)
    if folder is not None and not missing_files(folder):
        try:
            config, tensors = read_config(folder), headers(folder)
            tied, stored = bool(config.get("tie_word_embeddings")), config.get("quantization_config")
            weights = count_stored(tensors, tied, stored) if stored else count_weights(tensors, tied)
            context = longest_row(config, entry.context)
            has_others = any(other.loaded_with == role for other in entry.roles.values())
            is_fused = is_fusable(folder, config) and not has_others
            return _Measure(given, weights, cache_shape(config), context, True, is_fused)
        except BROKEN:
            pass  # load_family reports what is wrong with the files
    shape = given.shape
    if shape is None:
        here = folder is not None and folder.is_dir()
        return _Measure(given, Weights(0, 0), None, entry.context, here)
    cache = CacheShape(shape.layers, shape.kv_heads, shape.head_dim)
    return _Measure(given, _weights_of(shape), cache, entry.context, False, is_fused=True)


def _measure_adapter(given: RoleEntry, folder: Path | None, base: _Measure) -> _Measure:
    """An adapter has few weights of its own, and rows with the keys and values of its base."""
    try:
        tensors = file_headers(folder / ADAPTER_WEIGHTS) if folder is not None else {}
    except BROKEN:
        tensors = {}  # load_family reports what is wrong with the file
    own = Weights(0, sum(tensor.elements for tensor in tensors.values()))
    return _Measure(given, own, base.cache, base.context, bool(tensors))


def _problem(
    device: str,
    needed: Mapping[str, int],
    room: Mapping[str, int],
    placements: tuple[Placement, ...],
    strategy: _Strategy,
) -> str:
    largest = max(placements, key=lambda place: place.weights_bytes)
    place = "this machine's memory" if device == CPU else device
    advice = "" if strategy.quantisation != NONE else " with --quantisation nf4,"
    return (
        f"This needs {needed[device] / 1e9:.1f} GB of {place}, but only {room.get(device, 0) / 1e9:.1f} GB "
        f"are free; {largest.role} alone takes {largest.weights_bytes / 1e9:.1f} GB. Please close other "
        f"programs, or try again{advice} with a smaller family, or on a larger machine."
    )
