"""Families from the hub: downloaded once with progress, called off, switched; faults as sentences."""

import errno
import gc
import json
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import httpx
import peft
import pytest
import torch
import transformers
import yaml
from huggingface_hub import errors as hub_errors

from eft_demo.engine.service import Service, default_panels
from eft_demo.errors import Cancelled, EFTError, FamilyError, OutOfMemory
from eft_demo.families.catalogue import Entry, read_entry
from eft_demo.families.hub import Stage, Watcher
from eft_demo.lab.collect import collect
from eft_demo.models.lora import AdapterModel
from eft_demo.models.memory import free_unused
from eft_demo.models.open import open_family
from eft_demo.models.plan import choice_of
from eft_demo.settings import Settings
from tests.checkpoints import ROLES, make_real_family
from tests.hub import SHA, FolderHub

FP32 = Settings(dtype="fp32", threads=1, max_rows=4)


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three repositories of one owner, the large one in several files."""
    folder = tmp_path_factory.mktemp("hub")
    make_real_family(folder / "me", "llama3", shard_size="200KB")
    assert (folder / "me" / "large_base" / "model.safetensors.index.json").is_file()
    return folder


@pytest.fixture
def hub(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderHub:
    shutil.copytree(originals, tmp_path / "hub")
    return FolderHub(tmp_path / "hub", tmp_path / "cache", monkeypatch)


@pytest.fixture
def entry(originals: Path, tmp_path: Path) -> Entry:
    """The family file that names those repositories."""
    table = yaml.safe_load((originals / "me" / "llama3.yaml").read_text())
    for role in ROLES:
        table["roles"][role].pop("path")
        table["roles"][role]["repo"] = f"me/{role}"
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    return read_entry(tmp_path / "real.yaml")


def test_a_family_is_downloaded_once_and_answers(hub: FolderHub, entry: Entry) -> None:
    stages: list[Stage] = []
    assert not choice_of(entry, FP32).here
    service = Service.load(FP32, entry, watcher=Watcher(stages.append))
    try:
        traces = collect(service.start_run("Who?", "polite", max_new_tokens=3), default_panels("polite"))
        assert all(trace.tokens and not trace.error for trace in traces)
    finally:
        service.stop()
    loads = [stage for stage in stages if stage.stage == "load"]
    assert [stage.what for stage in loads] == [*ROLES, "real"]
    assert loads[-1].done_bytes == loads[-1].total_bytes > 0
    for repo in (f"me/{role}" for role in ROLES):
        done = [stage.done_bytes for stage in stages if stage.stage == "download" and stage.what == repo]
        assert done == sorted(done) and len(done) > 5
        size = sum(path.stat().st_size for path in hub.folder_of(repo).iterdir())
        assert done[-1] == size
    hub.asked.clear()
    assert choice_of(entry, FP32).here
    open_family(entry, FP32)
    assert not hub.asked, "what lies in the cache needs no network"


def test_only_what_is_needed_comes_and_never_code(hub: FolderHub, entry: Entry) -> None:
    for name in ("modeling_evil.py", "pytorch_model.bin", "consolidated.safetensors"):
        (hub.root / "me" / "polite" / name).write_text("import os")
    open_family(entry, FP32)
    names = {path.name for path in hub.folder_of("me/polite").iterdir()}
    assert names == {"model.safetensors", *(f"{n}.json" for n in ("config", "generation_config"))} | {
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_a_download_can_be_called_off_and_goes_on_later(hub: FolderHub, entry: Entry) -> None:
    cancel = Event()
    hub.on_chunk = lambda: cancel.set() if (hub.folder_of("me/small_base") / "config.json").exists() else None
    with pytest.raises(Cancelled, match="Stopped, as asked"):
        open_family(entry, FP32, watcher=Watcher(cancel=cancel))
    assert not choice_of(entry, FP32).here
    hub.on_chunk = lambda: None
    assert set(open_family(entry, FP32).models) == set(ROLES)


def test_loading_can_be_called_off(hub: FolderHub, entry: Entry) -> None:
    cancel = Event()

    def stop_at_second(stage: Stage) -> None:
        if stage.stage == "load" and stage.what == "small_base":
            cancel.set()

    with pytest.raises(Cancelled):
        open_family(entry, FP32, watcher=Watcher(stop_at_second, cancel))


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/api/models/me/x"))


FAULTS = {
    "gated": (
        hub_errors.GatedRepoError("no", response=response(403)),
        "is gated: .*accept it at https.*HF_TOKEN",
    ),
    "missing": (
        hub_errors.RepositoryNotFoundError("no", response=response(401)),
        "no repository me/large_base on the hub, or it is private.*check the name",
    ),
    "revision": (
        hub_errors.RevisionNotFoundError("no", response=response(404)),
        "has no revision None.*correct the revision",
    ),
    "offline": (
        hub_errors.OfflineModeIsEnabled("offline"),
        "cannot be reached.*unset HF_HUB_OFFLINE.*bundled",
    ),
    "no network": (
        httpx.ConnectError("no route"),
        "cannot be reached .ConnectError: no route.*connect to the network",
    ),
    "slow": (httpx.ReadTimeout("late"), "cannot be reached .ReadTimeout"),
    "server": (hub_errors.HfHubHTTPError("500", response=response(503)), "cannot be reached"),
    "token": (
        hub_errors.HfHubHTTPError("401", response=response(401)),
        "refused me/large_base .HTTP 401.*HF_TOKEN",
    ),
    "full disk": (OSError(errno.ENOSPC, "No space left on device"), "disk is full.*free some room.*HF_HOME"),
    "name": (hub_errors.HFValidationError("bad"), "is no repository's name|is no name of a repository"),
}


@pytest.mark.parametrize("at_download", [False, True], ids=["asked", "downloading"])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_the_hub_has_its_sentence(
    hub: FolderHub, entry: Entry, fault: str, at_download: bool
) -> None:
    error, sentence = FAULTS[fault]
    if at_download:
        hub.download_fault, sentence = error, sentence.replace("None", f"'{SHA}'")
    else:
        hub.fault = error
    with pytest.raises(FamilyError, match=f"(?s){sentence}"):
        open_family(entry, FP32)


def test_a_disk_that_will_be_full_is_refused_before_the_first_byte(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        total: int = 10**9
        used: int = 10**9
        free: int = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    with pytest.raises(FamilyError, match=r"needs 0.0 GB on the disk and .* 0.0 GB free.*HF_HOME"):
        open_family(entry, FP32)
    assert not hub.folder_of("me/large_base").exists()


def test_a_repository_without_safetensors_is_refused(hub: FolderHub, entry: Entry) -> None:
    for path in (hub.root / "me" / "large_base").glob("*.safetensors*"):
        path.unlink()
    with pytest.raises(FamilyError, match="no weights as safetensors.*can run code"):
        open_family(entry, FP32)


def test_a_pinned_revision_is_what_is_loaded(hub: FolderHub, entry: Entry) -> None:
    pinned = replace(entry, roles={r: replace(role, revision=SHA) for r, role in entry.roles.items()})
    assert pinned.pinned and not entry.pinned
    open_family(pinned, FP32)
    (hub.folder_of("me/large_base").parent.parent / "refs" / "main").write_text("f" * 40)
    hub.asked.clear()
    open_family(pinned, FP32)
    assert not hub.asked


def spoil(folder: Path, name: str, content: bytes | None) -> None:
    path = next(folder.glob(name))
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)


@pytest.mark.parametrize(
    ("role", "name", "content", "sentence"),
    [
        (
            "large_base",
            "model-00002*",
            None,
            "large_base .* damaged .*delete .*models--me--large_base and start",
        ),
        (
            "large_base",
            "*.index.json",
            b'{"weight_map": {"x": "../../x.safetensors"}}',
            "large_base .*damaged",
        ),
        ("large_base", "tokenizer.json", b"{", "tokenizer.json is damaged .*delete"),
        ("small_base", "config.json", b"<html>", "small_base .*damaged .*delete"),
        ("polite", "model.safetensors", b"version https://git-lfs", "polite .*damaged .*delete"),
    ],
)
def test_a_corrupt_file_is_named_with_what_to_delete(
    hub: FolderHub, entry: Entry, role: str, name: str, content: bytes | None, sentence: str
) -> None:
    open_family(entry, FP32)
    spoil(hub.folder_of(f"me/{role}"), name, content)
    with pytest.raises(FamilyError, match=f"(?s){sentence}"):
        open_family(entry, FP32)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_checkpoint_that_wants_to_run_code_is_refused(hub: FolderHub, entry: Entry) -> None:
    change_config(
        hub.root / "me" / "large_base", model_type="odd", auto_map={"AutoModel": "modeling_odd.Odd"}
    )
    with pytest.raises(
        FamilyError, match="of the kind 'odd', and only .*run code of its own, which is never done"
    ):
        open_family(entry, FP32)


def test_a_falcon_with_alibi_is_refused(hub: FolderHub, entry: Entry) -> None:
    change_config(hub.root / "me" / "small_base", model_type="falcon", alibi=True)
    with pytest.raises(FamilyError, match="ALiBi positions.*falcon-7b"):
        open_family(entry, FP32)


def test_a_tokenizer_of_another_family_is_refused(hub: FolderHub, entry: Entry) -> None:
    path = hub.root / "me" / "polite" / "tokenizer.json"
    swapped = path.read_text().replace('"!"', '"@@"').replace('"\\""', '"!"').replace('"@@"', '"\\""')
    path.write_text(swapped)
    with pytest.raises(
        FamilyError, match="vocabularies of large_base and polite differ in 2 of .* ids .id 1 is"
    ):
        open_family(entry, FP32)


def test_a_longer_vocabulary_is_cut_and_ids_beyond_are_never_said(hub: FolderHub, entry: Entry) -> None:
    path = hub.root / "me" / "polite" / "tokenizer.json"
    table = json.loads(path.read_text())
    last = max(token["id"] for token in table["added_tokens"])
    table["added_tokens"].append({**table["added_tokens"][-1], "id": last + 1, "content": "<|extra|>"})
    path.write_text(json.dumps(table))
    family = open_family(entry, FP32).family
    assert family.vocab == last + 1
    assert family.stop_ids == {0, family.tokenizer.token_to_id("<|end|>")}
    assert family.banned_ids == {
        family.tokenizer.token_to_id(f"<|{t}|>") for t in ("user", "assistant", "system")
    }


def test_a_role_may_be_an_adapter_of_the_hub(hub: FolderHub, entry: Entry, tmp_path: Path) -> None:
    base = transformers.AutoModelForCausalLM.from_pretrained(hub.root / "me" / "small_base")
    base.config._name_or_path = base.name_or_path = "me/small_base"
    options = {"r": 4, "target_modules": ["q_proj"], "init_lora_weights": False}
    tuned = peft.get_peft_model(base, peft.LoraConfig(base_model_name_or_path="me/small_base", **options))
    tuned.peft_config["default"].base_model_name_or_path = "me/small_base"
    tuned.save_pretrained(hub.root / "me" / "adapter")
    polite = replace(
        entry.roles["polite"],
        repo="me/adapter",
        adapter_of="small_base",
        prompt=entry.roles["small_base"].prompt,
    )
    with_adapter = replace(entry, roles={**entry.roles, "polite": polite})
    opened = open_family(with_adapter, FP32)
    assert isinstance(opened.models["polite"], AdapterModel)
    names = {path.name for path in hub.folder_of("me/adapter").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    hub.asked.clear()
    assert choice_of(with_adapter, FP32).here and set(open_family(with_adapter, FP32).models) == set(ROLES)
    assert not hub.asked
    spoiled = hub.folder_of("me/adapter") / "adapter_config.json"
    spoiled.write_text(spoiled.read_text().replace("me/small_base", "me/another"))
    with pytest.raises(FamilyError, match="was trained on me/another, and the base here is me/small_base"):
        open_family(with_adapter, FP32)


def test_no_memory_at_load_is_a_sentence_and_leaves_nothing(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, built = transformers.AutoModelForCausalLM.from_pretrained, []

    def second_fails(folder: Path, **options: Any) -> Any:
        if built:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        model, info = real(folder, **options)
        built.append(weakref.ref(model))
        return model, info

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", second_fails)
    with pytest.raises(OutOfMemory, match="not enough memory for small_base to be loaded .free: cpu .*nf4"):
        open_family(entry, FP32)
    gc.collect()
    assert built[0]() is None


def test_what_does_not_fit_is_refused_before_it_is_downloaded(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eft_demo.models.plan.free_memory", lambda: {"cpu": 1000})
    with pytest.raises(OutOfMemory, match="needs 0.3 GB .* 0.0 GB are free"):
        open_family(entry, FP32)
    assert not hub.asked


@pytest.fixture
def service(hub: FolderHub, entry: Entry) -> Iterator[Service]:
    service = Service.load(FP32, entry)
    yield service
    service.stop()


def test_no_memory_in_a_step_ends_the_texts_of_that_model_only(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    polite: Any = service.engine.models["polite"]

    def fails(**options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(polite.model, "forward", fails)
        base, tuned, upscaled = collect(
            service.start_run("Who?", "polite", max_new_tokens=3), default_panels("polite")
        )
    assert base.tokens and not base.error
    for trace in (tuned, upscaled):
        assert "not enough memory for polite to take this step" in (trace.error or "")
    again = collect(service.start_run("Who?", "polite", max_new_tokens=3), default_panels("polite"))
    assert not any(trace.error for trace in again)


def test_no_memory_for_another_row_is_told_and_leaves_no_row(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: Any = service.engine.models

    def fails() -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 GB")

    with monkeypatch.context() as patch:
        patch.setattr(models["small_base"].cache, "join", fails)
        traces = collect(service.start_run("Who?", "polite", max_new_tokens=3), default_panels("polite"))
    assert {trace.error for trace in traces} == {traces[0].error} and "keep another text" in str(
        traces[0].error
    )
    assert not any(model.cache.slots for model in models.values())
    again = collect(service.start_run("Who?", "polite", max_new_tokens=3), default_panels("polite"))
    assert not any(trace.error for trace in again)


def test_another_family_can_take_the_place_of_one(hub: FolderHub, entry: Entry) -> None:
    service = Service.load(FP32, entry)
    collect(service.start_run("Who?", "polite", max_new_tokens=3), default_panels("polite"))
    models: Any = service.engine.models
    old = [weakref.ref(model.model) for model in models.values()]
    caches = [weakref.ref(store) for model in models.values() for store in model.cache.store]
    atlas = Service.load(Settings(dtype="fp32", threads=1))
    try:
        service.stop()
        del service, models
        free_unused()
        assert not any(reference() for reference in (*old, *caches)), (
            "the old family's memory was not returned"
        )
        traces = collect(atlas.start_run("Who?", "pirate", max_new_tokens=3), default_panels("pirate"))
        assert all(trace.tokens for trace in traces)
    finally:
        atlas.stop()


def test_errors_are_all_meant_to_be_read() -> None:
    assert issubclass(Cancelled, EFTError) and issubclass(OutOfMemory, EFTError)
