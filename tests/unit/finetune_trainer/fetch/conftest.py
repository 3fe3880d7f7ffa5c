"""A small model, servers that hold it, and settings that do not wait."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.finetune_trainer.fetch.serving import Hub, Scope, Server, serving

from finetune_trainer import fetch
from finetune_trainer.fetch.lease import Pulse

WEIGHTS = random.Random(1).randbytes(3_000_000)
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer/vocab.txt": b"a\nb\n",
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": b"second",
    "pytorch_model.bin": b"the same once more",
    "empty.txt": b"",
}
NEEDED = {name: body for name, body in FILES.items() if name != "pytorch_model.bin"}
BIG = "model-00001-of-00002.safetensors"
QUICK = fetch.Settings(attempts=2, backoff=0.0, tick=0.02, pulse=Pulse(beat=0.05, expires=0.5, poll=0.02))

Fetch = Callable[..., fetch.Fetched]


@pytest.fixture(autouse=True)
def no_secrets_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(dict(FILES)).up() as up:
        yield up


@pytest.fixture
def scope() -> Iterator[tuple[Scope, Server]]:
    held = Scope(dict(FILES))
    with serving(held.answer) as server:
        yield held, server


def run(source: str, cache: Path, credentials: fetch.Credentials, **changes: Any) -> fetch.Fetched:
    """A fetch in a hurry."""
    report = changes.pop("report", lambda progress: None)
    return fetch.fetch(source, cache, credentials=credentials, report=report, settings=changes.get("settings", QUICK))


def content(fetched: fetch.Fetched) -> dict[str, bytes]:
    """All that lies in the folder, but the mark."""
    paths = (path for path in fetched.folder.rglob("*") if path.is_file() and path.name != "fetched.json")
    return {str(path.relative_to(fetched.folder)): path.read_bytes() for path in paths}
