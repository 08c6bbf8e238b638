"""A hub that is a folder: the library's questions and downloads answered from files, into a real cache."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"
CHUNK_BYTES = 50_000


class FolderHub:
    """Repositories are the folders `root/owner/name`; `asked` lists what would have gone over the network."""

    def __init__(self, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.cache = root, cache
        self.asked: list[str] = []
        self.fault: Exception | None = None  # raised by the next question
        self.download_fault: Exception | None = None  # raised by the next download
        self.faulty = ""  # the only repository that it is raised for; empty = all
        self.on_chunk: Callable[[], None] = lambda: None
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", self._model_info)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self._download)

    def folder_of(self, repo: str) -> Path:
        """Where the cache keeps a repository's files once they are here."""
        return self.cache / f"models--{repo.replace('/', '--')}" / "snapshots" / SHA

    def _model_info(self, repo: str, **options: Any) -> SimpleNamespace:
        self.asked.append(repo)
        if self.fault is not None and self.faulty in ("", repo):
            raise self.fault
        files = [path for path in sorted((self.root / repo).iterdir()) if path.is_file()]
        siblings = [SimpleNamespace(rfilename=path.name, size=path.stat().st_size) for path in files]
        return SimpleNamespace(sha=SHA, siblings=siblings, card_data=SimpleNamespace(license="mit"))

    def _download(self, repo: str, name: str, *, revision: str, tqdm_class: Any) -> str:
        if self.download_fault is not None:
            raise self.download_fault
        content, folder = (self.root / repo / name).read_bytes(), self.folder_of(repo)
        folder.mkdir(parents=True, exist_ok=True)
        bar = tqdm_class(total=len(content), name="bytes", unit="B", desc=name)
        for start in range(0, len(content), CHUNK_BYTES):
            self.on_chunk()
            bar.update(len(content[start : start + CHUNK_BYTES]))
        (folder / name).write_bytes(content)
        reference = folder.parent.parent / "refs" / "main"
        reference.parent.mkdir(exist_ok=True)
        reference.write_text(revision)
        return str(folder / name)
