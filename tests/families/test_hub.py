"""Families from the hub: downloaded once with progress, cancelled, switched; every error has its message."""

import gc
import json
import os
import resource
import shutil
import subprocess
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import huggingface_hub
import peft
import pytest
import torch
import transformers
import yaml
from huggingface_hub import constants

from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.errors import Cancelled, EFTError, FamilyError, OutOfMemory
from eft_demo.families.catalogue import Entry, read_entry
from eft_demo.families.hub import QUIET, Stage, Watcher, download, look_up
from eft_demo.families.hub_faults import HubUnreachable, Incomplete, NotTheHub, hub_error
from eft_demo.models.lora import AdapterModel
from eft_demo.models.memory import free_unused
from eft_demo.models.open import open_family
from eft_demo.models.plan import menu_entry
from eft_demo.settings import Settings
from eft_demo.ui.family_switch import load_first
from tests.asking import spec
from tests.checkpoints import ROLES, make_real_family
from tests.hub import (
    SHA,
    Fault,
    FolderHub,
    Request,
    drip,
    drop,
    folder_hub,
    garbage,
    half,
    hang,
    login_page,
    redirect,
    status,
)

FP32 = Settings(dtype="fp32", threads=1, max_sequences=4)


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three repositories of one owner, the large one in several files."""
    folder = tmp_path_factory.mktemp("hub")
    make_real_family(folder / "me", "llama3", shard_size="200KB")
    assert (folder / "me" / "large_base" / "model.safetensors.index.json").is_file()
    return folder


@pytest.fixture
def hub(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderHub]:
    shutil.copytree(originals, tmp_path / "hub")
    with folder_hub(tmp_path / "hub", tmp_path / "cache", monkeypatch) as hub:
        yield hub


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
    assert not menu_entry(entry, FP32).here
    service = Service.load(FP32, entry, watcher=Watcher(stages.append))
    try:
        traces = collect(service.start_run(spec("Who?", "polite", length=3)))
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
    assert menu_entry(entry, FP32).here
    open_family(entry, FP32)
    assert not hub.asked, "cached files need no network"


LEFT_OUT = ("generation_config.json", "tokenizer.json", "tokenizer_config.json")


@pytest.mark.parametrize("name", LEFT_OUT)
def test_small_files_that_another_program_left_out_of_the_cache_are_downloaded(
    hub: FolderHub, entry: Entry, name: str
) -> None:
    (hub.root / "me" / "small_base" / "generation_config.json").unlink()  # no repository must have it
    for role in ROLES:
        download(f"me/{role}", None, QUIET)
    (hub.folder_of("me/polite") / name).unlink()
    hub.asked.clear()
    whole = open_family(entry, FP32).family
    assert hub.asked == ["me/polite"]
    assert len(whole.stop_ids) == 2 and "polite" in whole.templates
    hub.asked.clear()
    assert open_family(entry, FP32).family.stop_ids == whole.stop_ids
    assert not hub.asked, "what a repository does not have is not looked up again"


def test_without_the_hub_a_cache_is_used_as_it_is(hub: FolderHub, entry: Entry) -> None:
    for role in ROLES:
        download(f"me/{role}", None, QUIET)
    (hub.folder_of("me/polite") / "generation_config.json").unlink()
    hub.fault = drop
    assert len(open_family(entry, FP32).family.stop_ids) == 1


def test_only_the_needed_files_are_downloaded_and_never_code(hub: FolderHub, entry: Entry) -> None:
    for name in ("modeling_evil.py", "pytorch_model.bin", "consolidated.safetensors"):
        (hub.root / "me" / "polite" / name).write_text("import os")
    open_family(entry, FP32)
    names = {path.name for path in hub.folder_of("me/polite").iterdir()}
    assert names == {"model.safetensors", *(f"{n}.json" for n in ("config", "generation_config"))} | {
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_a_download_can_be_cancelled_and_resumed(hub: FolderHub, entry: Entry) -> None:
    cancel = Event()
    hub.on_chunk = lambda: cancel.set() if (hub.folder_of("me/small_base") / "config.json").exists() else None
    with pytest.raises(Cancelled, match="Cancelled"):
        open_family(entry, FP32, watcher=Watcher(cancel=cancel))
    assert not menu_entry(entry, FP32).here
    hub.on_chunk = lambda: None
    assert set(open_family(entry, FP32).models) == set(ROLES)


def test_loading_can_be_cancelled(hub: FolderHub, entry: Entry) -> None:
    cancel = Event()

    def stop_at_second(stage: Stage) -> None:
        if stage.stage == "load" and stage.what == "small_base":
            cancel.set()

    with pytest.raises(Cancelled):
        open_family(entry, FP32, watcher=Watcher(stop_at_second, cancel))


# Network fault -> (its cause, a pattern of the message). A real server produces every fault, so the exception
# classes are those that the pinned library raises.
FAULTS: Mapping[str, tuple[Fault, str]] = {
    "gated": (status(403, X_Error_Code="GatedRepo"), "is gated: .*accept it at http.*HF_TOKEN"),
    "missing": (
        status(401, X_Error_Code="RepoNotFound"),
        "no repository me/large_base on the hub, or it is private.*check the name",
    ),
    "revision": (status(404, X_Error_Code="RevisionNotFound"), "has no revision .*correct the revision"),
    "file": (
        status(404, X_Error_Code="EntryNotFound"),
        "A file of the repository me/large_base is missing",
    ),
    "no such thing": (status(404), "has no repository me/large_base .HTTP 404.*HF_ENDPOINT"),
    "token": (status(401), "refused me/large_base .HTTP 401.*HF_TOKEN"),
    "forbidden": (status(403), "refused me/large_base .HTTP 403.*HF_TOKEN"),
    "another code": (status(451), "refused me/large_base .HTTP 451"),
    "proxy login": (status(407), "proxy .*HTTP 407.*HTTPS_PROXY"),
    "range": (status(416), "HTTP 416.*delete .*models--me--large_base and start again"),
    "too many": (status(429, Retry_After="86400"), "HTTP 429.*too many requests.*in 86400 seconds"),
    "server": (status(500), "cannot be reached: .*HTTP 500.*try again later"),
    "overloaded": (status(503), "cannot be reached: .*HTTP 503.*try again later"),
    "login page": (login_page, "not answer like the hub.*log in"),
    "login required": (status(511), "not answer like the hub.*log in"),
    "nothing": (status(204), "not answer like the hub"),
    "another service": (status(200, b"[]"), "not answer like the hub"),
    "another answer": (status(200, b'{"id": "me/large_base"}'), "not answer like the hub"),
    "endless redirects": (redirect, "cannot be reached .TooManyRedirects"),
    "drop": (drop, "cannot be reached .RemoteProtocolError.*connect to the network.*bundled family"),
    "garbage": (garbage, "cannot be reached .RemoteProtocolError"),
    "hang": (hang, "cannot be reached .(ReadTimeout|nothing came)"),
}


@pytest.mark.parametrize("at_download", [False, True], ids=["asked", "downloading"])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_error_of_the_hub_has_its_message(
    hub: FolderHub, entry: Entry, fault: str, at_download: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, sentence = FAULTS[fault]
    if answer is hang:
        monkeypatch.setattr("eft_demo.families.hub.TIMEOUT_S", 0.2)
        monkeypatch.setattr("eft_demo.families.hub.ANSWER_S", 1.5)
    if at_download:
        hub.download_fault = answer
    else:
        hub.fault = answer
    with pytest.raises(FamilyError, match=f"(?s){sentence}"):
        open_family(entry, FP32)


def test_an_endless_answer_is_ended_by_a_deadline(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eft_demo.families.hub.ANSWER_S", 0.3)
    hub.fault = drip
    with pytest.raises(HubUnreachable, match="nothing came for 0 seconds"):
        open_family(entry, FP32)


def test_waiting_for_a_hanging_hub_can_be_cancelled(hub: FolderHub, entry: Entry) -> None:
    cancel = Event()

    def hang_and_cancel(request: Request) -> None:
        cancel.set()
        hang(request)

    hub.download_fault = hang_and_cancel
    with pytest.raises(Cancelled):
        open_family(entry, FP32, watcher=Watcher(cancel=cancel))


def test_a_partial_file_is_not_accepted(hub: FolderHub, entry: Entry) -> None:
    hub.download_fault = half
    with pytest.raises(Incomplete, match="came incomplete .RemoteProtocolError: peer closed.*start again"):
        open_family(entry, FP32)
    assert not menu_entry(entry, FP32).here
    hub.download_fault = None
    assert set(open_family(entry, FP32).models) == set(ROLES)


@pytest.mark.parametrize("kept", [0.0, 0.9])
def test_a_file_cut_off_by_a_mirror_is_reported_as_incomplete(
    hub: FolderHub, entry: Entry, kept: float
) -> None:
    """The answer's own length is right, but the hub announced a longer file."""

    def cut(request: Request) -> None:
        content = hub.file_of(request)
        if request.command == "HEAD" or content is None:
            return hub.send_file(request)
        return request.reply(200, content[: int(len(content) * kept)])

    hub.download_fault = cut
    with pytest.raises(Incomplete, match=r"came incomplete \(OSError: Consistency.*start again") as raised:
        open_family(entry, FP32)
    assert "cannot be reached" not in str(raised.value)
    hub.download_fault = None
    assert set(open_family(entry, FP32).models) == set(ROLES)


def test_a_server_of_the_hubs_files_that_does_not_answer_is_named(hub: FolderHub, entry: Entry) -> None:
    def elsewhere(request: Request) -> None:
        closed = {"Location": "http://127.0.0.1:9/file"}
        hub.send_file(request) if request.command == "HEAD" else request.reply(302, b"", closed)

    hub.download_fault = elsewhere
    with pytest.raises(HubUnreachable, match=r"hub http://127.0.0.1:\d+ answers, but 127.0.0.1:9, .*XET"):
        open_family(entry, FP32)
    # The library for the hub's newer storage tries for minutes, so its words are here as it said them.
    said = RuntimeError(
        "Task error: File reconstruction error: CAS Client Error: Request middleware error: error sending "
        "request for url (https://cas-server.xethub.hf.co/v2/reconstructions/aa)"
    )
    found = str(hub_error(said, "me/polite", None, arriving=True))
    assert "but cas-server.xethub.hf.co, from where" in found and "incomplete" not in found


@pytest.mark.parametrize(
    "facts", [{"lastModified": "yesterday"}, {"siblings": [{"rfilename": "a", "size": "b"}]}]
)
def test_a_value_that_the_hub_does_not_write_is_not_from_the_hub(
    hub: FolderHub, entry: Entry, facts: dict[str, object]
) -> None:
    hub.fault = status(200, json.dumps({"id": "me/polite", "sha": SHA, **facts}).encode())
    with pytest.raises(NotTheHub, match="did not answer like the hub"):
        open_family(entry, FP32)


def test_an_unreachable_server_is_reported(hub: FolderHub, entry: Entry) -> None:
    hub.close()
    with pytest.raises(HubUnreachable, match="cannot be reached .ConnectError.*bundled family"):
        open_family(entry, FP32)


def test_offline_mode_is_reported(hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachable, match="cannot be reached .OfflineModeIsEnabled.*unset HF_HUB_OFFLINE"):
        open_family(entry, FP32)
    assert not hub.asked


@pytest.mark.parametrize(
    ("proxy", "answer", "sentence"),
    [
        ("http://127.0.0.1:{port}", status(407), "proxy .*HTTP 407.*HTTPS_PROXY"),
        ("http://127.0.0.1:{port}", status(502), "proxy .*cannot be used .ProxyError: 502"),
        ("socks5://127.0.0.1:{port}", drop, "proxy .*cannot be used|cannot be reached"),
        ("nonsense://127.0.0.1:{port}", drop, "cannot be reached|cannot be used"),
    ],
)
def test_a_proxy_that_refuses_is_named(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch, proxy: str, answer: Fault, sentence: str
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv("https_proxy", proxy.format(port=hub.endpoint.rpartition(":")[2]))
    monkeypatch.delenv("no_proxy", raising=False)
    hub.tunnel = answer
    with pytest.raises(FamilyError, match=f"(?s){sentence}"):
        look_up("me/large_base")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_a_certificate_that_is_not_trusted_is_named(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", str(key)]
    subprocess.run(
        ["openssl", "req", "-x509", *options, "-out", str(certificate)], check=True, capture_output=True
    )
    hub.speak_tls(certificate, key)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint.replace("http:", "https:"))
    with pytest.raises(HubUnreachable, match="certificate .*not trusted .*SSL_CERT_FILE"):
        open_family(entry, FP32)


def test_the_app_starts_with_the_bundled_family_and_gives_the_reason(hub: FolderHub) -> None:
    hub.close()
    service, notice = load_first(replace(FP32, family="smollm2-tiny"))
    try:
        assert service.family.name == "atlas"
        assert "SmolLM2-360M" in notice and "cannot be reached" in notice and "bundled family" in notice
    finally:
        service.stop()


def test_a_file_size_limit_is_reported_as_a_full_disk(hub: FolderHub, entry: Entry) -> None:
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the system refuses what is written beyond
    try:
        with pytest.raises(FamilyError, match=r"(?s)disk is full.*free some space.*HF_HOME"):
            open_family(entry, FP32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert set(open_family(entry, FP32).models) == set(ROLES)


def test_an_unwritable_cache_is_reported(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(FamilyError, match="could not be saved in .*NotADirectoryError.*HF_HOME"):
        open_family(entry, FP32)


@pytest.mark.parametrize("name", ["me/a b", "me/..", "me/x--y", "me/-", "me/" + "x" * 99])
def test_an_invalid_repository_name_is_refused(hub: FolderHub, entry: Entry, name: str) -> None:
    large = replace(entry.roles["large_base"], repo=name)
    with pytest.raises(FamilyError, match="not a repository name"):
        open_family(replace(entry, roles={**entry.roles, "large_base": large}), FP32)


def test_a_token_with_invalid_characters_is_reported(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_\u00fc")
    with pytest.raises(FamilyError, match="HF_TOKEN"):
        open_family(entry, FP32)


def test_passwords_and_tokens_are_never_shown(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fault = drop
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint.replace("//", "//bob:s3kr/t@x@"))
    monkeypatch.setattr(constants, "ENDPOINT", os.environ["HF_ENDPOINT"])
    with pytest.raises(FamilyError) as caught:
        open_family(entry, FP32)
    assert "http://***@127.0.0.1" in str(caught.value)
    assert "s3kr" not in str(caught.value)
    hub.fault = None
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_s3\u2026kret")
    huggingface_hub.close_session()
    with pytest.raises(FamilyError, match="HF_TOKEN") as caught:
        open_family(entry, FP32)
    assert "kret" not in str(caught.value)


def test_variables_that_redirect_requests_are_named(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    for endpoint in ("not an address", "", "ftp://127.0.0.1", "https://hub.invalid"):
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        with pytest.raises(HubUnreachable, match="HF_ENDPOINT and https_proxy"):
            look_up("me/large_base")


@pytest.mark.parametrize("certificates", ["nowhere", "no certificate"])
def test_unreadable_certificates_are_not_reported_as_a_full_disk(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificates: str
) -> None:
    (tmp_path / "no certificate").write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / certificates))
    huggingface_hub.close_session()  # the next session reads the variable
    with pytest.raises(HubUnreachable, match="certificates for .*SSL_CERT_FILE"):
        open_family(entry, FP32)


def test_an_invalid_token_file_is_named(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path))
    with pytest.raises(FamilyError, match=f"^{tmp_path}, which"):
        open_family(entry, FP32)


@pytest.mark.parametrize("damaged", ["the cache", "the login"])
def test_a_damaged_file_of_the_library_is_named(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damaged: str
) -> None:
    open_family(entry, FP32)  # so that there is a cache
    cache = hub.folder_of("me/large_base").parents[1]
    path = cache / "refs" / "main" if damaged == "the cache" else tmp_path / "token"
    path.write_bytes(b"\x7f\xfe\xdd")
    if damaged == "the login":
        shutil.rmtree(cache)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    with pytest.raises(FamilyError, match=f"The file {path}, .*is damaged.*delete it"):
        open_family(entry, FP32)
    path.unlink()
    assert set(open_family(entry, FP32).models) == set(ROLES)


def test_a_variable_with_an_impossible_time_is_named(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "-1")
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", -1)
    with pytest.raises(FamilyError, match="Please set HF_HUB_DOWNLOAD_TIMEOUT to a number of seconds"):
        open_family(entry, FP32)


def test_a_download_that_does_not_fit_on_the_disk_is_refused_first(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        total: int = 10**9
        used: int = 10**9
        free: int = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    with pytest.raises(FamilyError, match=r"needs 0.0 GB of disk space, and .* 0.0 GB free.*HF_HOME"):
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
    references = hub.folder_of("me/large_base").parent.parent / "refs"
    references.mkdir()
    (references / "main").write_text("f" * 40)
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
        ("small_base", "config.json", b"<html>", "small_base.*damaged.*web page.*delete"),
        (
            "polite",
            "model.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "polite.*git lfs pull",
        ),
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


def test_a_checkpoint_that_needs_its_own_code_is_refused(hub: FolderHub, entry: Entry) -> None:
    change_config(
        hub.root / "me" / "large_base", model_type="odd", auto_map={"AutoModel": "modeling_odd.Odd"}
    )
    with pytest.raises(FamilyError, match="'odd'.*never runs"):
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


def test_a_longer_vocabulary_is_cut_and_ids_beyond_are_never_sampled(hub: FolderHub, entry: Entry) -> None:
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
    lora = peft.LoraConfig(
        base_model_name_or_path="me/small_base", r=4, target_modules=["q_proj"], init_lora_weights=False
    )
    tuned = peft.get_peft_model(base, lora)
    tuned.peft_config["default"].base_model_name_or_path = "me/small_base"
    tuned.save_pretrained(str(hub.root / "me" / "adapter"))
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
    assert menu_entry(with_adapter, FP32).here and set(open_family(with_adapter, FP32).models) == set(ROLES)
    assert not hub.asked
    spoiled = hub.folder_of("me/adapter") / "adapter_config.json"
    spoiled.write_text(spoiled.read_text().replace("me/small_base", "me/another"))
    with pytest.raises(FamilyError, match="was trained on me/another, but the base here is me/small_base"):
        open_family(with_adapter, FP32)


def test_running_out_of_memory_on_loading_is_reported_and_leaves_nothing(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = transformers.AutoModelForCausalLM.from_pretrained
    built: list[weakref.ref[Any]] = []

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


def test_models_that_do_not_fit_are_refused_before_the_download(
    hub: FolderHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eft_demo.models.plan.free_memory", lambda: {"cpu": 1000})
    with pytest.raises(OutOfMemory, match=" 0.3 GB .* 0.0 GB "):
        open_family(entry, FP32)
    assert not hub.asked


@pytest.fixture
def service(hub: FolderHub, entry: Entry) -> Iterator[Service]:
    service = Service.load(FP32, entry)
    yield service
    service.stop()


def test_running_out_of_memory_in_a_step_ends_only_that_models_texts(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    polite: Any = service.engine.models["polite"]

    def fails(**options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(polite.model, "forward", fails)
        base, tuned, upscaled = collect(service.start_run(spec("Who?", "polite", length=3)))
    assert base.tokens and not base.error
    for trace in (tuned, upscaled):
        assert "not enough memory for polite to read a prompt" in (trace.error or "")
    again = collect(service.start_run(spec("Who?", "polite", length=3)))
    assert not any(trace.error for trace in again)


def test_running_out_of_memory_for_another_sequence_is_reported_and_leaves_none(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: Any = service.engine.models

    def fails(section: int = 0) -> Any:
        torch.empty(10**18)  # the allocator's own error

    with monkeypatch.context() as patch:
        patch.setattr(models["small_base"].cache, "join", fails)
        traces = collect(service.start_run(spec("Who?", "polite", length=3)))
    base, *others = [trace.error for trace in traces]
    assert base is None, "it does not use that model"
    assert len(others) == 2 and all("keep another text" in str(error) for error in others)
    assert not any(model.cache.slots for model in models.values())
    again = collect(service.start_run(spec("Who?", "polite", length=3)))
    assert not any(trace.error for trace in again)


def test_another_family_can_be_loaded_instead(hub: FolderHub, entry: Entry) -> None:
    service = Service.load(FP32, entry)
    collect(service.start_run(spec("Who?", "polite", length=3)))
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
        traces = collect(atlas.start_run(spec("Who?", "pirate", length=3)))
        assert all(trace.tokens for trace in traces)
    finally:
        atlas.stop()


def test_all_errors_are_eft_errors() -> None:
    assert issubclass(Cancelled, EFTError) and issubclass(OutOfMemory, EFTError)
