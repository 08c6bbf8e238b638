"""What generates a run here, for traces and links: models, dtypes, devices and package versions.

Knows files, never weights in memory. Weights in a local folder have no commit, so a hash of some of their
bytes identifies them.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from eft_demo import __version__
from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family
from eft_demo.families.weights import ADAPTER_WEIGHTS, BROKEN, weight_files
from eft_demo.models.memory import REMOTE
from eft_demo.models.plan import Plan
from eft_demo.runs.made_with import MAX_FACT_CHARS, MadeWith, ModelMade

# Retraining changes nearly every number, so hashing a few blocks distinguishes weights within milliseconds.
BLOCKS, BLOCK_BYTES = 64, 4096
SHORT = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


def made_with(family: Family, plan: Plan | None, roles: Iterable[str]) -> MadeWith:
    """Everything that determines a run of these roles here; roles without a placement are left out."""
    places = {} if plan is None else {place.role: place for place in plan.placements}
    models = {}
    for role in dict.fromkeys(roles):
        if role not in places:
            continue
        place, checkpoint = places[role], family.roles.get(role)
        if place.device == REMOTE:  # how the server stores which weights is not known
            models[role] = ModelMade("", place.quantisation, REMOTE, place.source[:MAX_FACT_CHARS])
            continue
        models[role] = ModelMade(
            dtype=SHORT.get(place.dtype, str(place.dtype).removeprefix("torch.")),
            quantisation=place.quantisation,
            # It does not matter which GPU; `auto` means several of them, `gpu` one that only llama.cpp uses.
            device=place.device if place.device in ("cpu", "gpu") else "cuda",
            source=checkpoint.repo if checkpoint else "",
            revision=_revision(checkpoint) if checkpoint else "",
        )
    return MadeWith(__version__, torch.__version__, _version("transformers"), models)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _revision(checkpoint: Checkpoint) -> str:
    """The commit if the folder is in the hub's cache, else a fingerprint of the weights."""
    for place in (checkpoint.path, *checkpoint.path.parents):
        if place.parent.name == "snapshots":
            return place.name
    try:
        adapter = (checkpoint.path / ADAPTER_WEIGHTS,)
        files = weight_files(checkpoint.path) if checkpoint.adapter_of is None else adapter
        return _fingerprint(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))
    except BROKEN:  # the files have been removed since they were loaded
        return ""


@cache
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> str:
    """12 hex digits of a hash over the files' sizes and blocks spread evenly over them."""
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for block in range(BLOCKS):
                file.seek(block * max(size - BLOCK_BYTES, 0) // (BLOCKS - 1))
                digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()[:12]
