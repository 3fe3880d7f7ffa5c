"""http:// folders: with SHA256SUMS, with a page of links, and Python's own server, which knows no ranges."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.finetune_trainer.fetch.conftest import BIG, NEEDED, content, run
from tests.unit.finetune_trainer.fetch.serving import Answer, Asked, Server, file, serving

from finetune_trainer import fetch
from finetune_trainer.fetch.errors import AccessDenied, ChecksumWrong, SourceChanged, SourceInvalid, SourceNotFound

NOBODY = fetch.Credentials()
SUMS = "".join(f"{hashlib.sha256(body).hexdigest()}  ./{name}\n" for name, body in NEEDED.items())


def folder(server: Server, asked: Asked) -> Answer:
    name = asked.path.removeprefix("/models/tiny/")
    held = {**NEEDED, "SHA256SUMS": SUMS.encode()}
    return file(held[name]) if name in held else Answer(404)


def source(server: Server) -> str:
    return f"{server.url}/models/tiny/"


def test_checksums_of_a_folder(tmp_path: Path) -> None:
    with serving(folder) as server:
        server.cuts[BIG] = [1_000_000]
        fetched = run(source(server), tmp_path, NOBODY)
        assert content(fetched) == NEEDED
        _, second = server.of(BIG)
        assert second.headers["if-range"] == server.route(server, second).headers["ETag"]
        port = server.url.rpartition(":")[2]
    assert fetched.folder.parent == tmp_path / "http" / f"127.0.0.1_{port}" / "models/tiny"
    assert {one.checksum.algorithm for one in fetched.files if one.checksum} == {"sha256"}


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    def broken(server: Server, asked: Asked) -> Answer:
        return file(b"X" * len(NEEDED["config.json"])) if asked.file == "config.json" else folder(server, asked)

    with serving(broken) as server, pytest.raises(ChecksumWrong, match=r"config\.json: expected sha256:"):
        run(source(server), tmp_path, NOBODY)


def test_a_file_that_is_replaced_meanwhile_is_told(tmp_path: Path) -> None:
    def replaced(server: Server, asked: Asked) -> Answer:
        answer = folder(server, asked)
        if asked.file == BIG and asked.range:
            return file(NEEDED[BIG][::-1])
        return answer

    with serving(replaced) as server:
        server.cuts[BIG] = [1_000_000]
        with pytest.raises(SourceChanged, match=f"{BIG} was replaced while it was being fetched"):
            run(source(server), tmp_path, NOBODY)


@pytest.fixture
def pythons_own(tmp_path: Path) -> Iterator[str]:
    for name, body in NEEDED.items():
        (tmp_path / "served" / "my model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "served" / "my model" / name).write_bytes(body)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            """Quiet."""

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/my%20model"
    server.shutdown()
    server.server_close()


def test_a_page_of_links_with_folders(pythons_own: str, tmp_path: Path) -> None:
    fetched = run(pythons_own, tmp_path / "cache", NOBODY)
    assert content(fetched) == NEEDED
    assert {one.checksum for one in fetched.files} == {None}
    assert run(pythons_own, tmp_path / "cache", NOBODY) == fetched


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(404), SourceNotFound, "is not there"),
        (Answer(401), AccessDenied, "write machine, login and password into a netrc file"),
        (
            Answer(200, b"<a href='../'>up</a>", {"Content-Type": "text/html"}),
            SourceInvalid,
            "SHA256SUMS:1: no checksum",
        ),
    ],
)
def test_what_is_no_model_is_told(answer: Answer, error: type[Exception], words: str, tmp_path: Path) -> None:
    with serving(lambda server, asked: answer) as server, pytest.raises(error, match=words):
        run(source(server), tmp_path, NOBODY)


def test_a_netrc_file_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    def closed(server: Server, asked: Asked) -> Answer:
        return folder(server, asked) if asked.headers.get("authorization") == "Basic bWU6c2VjcmV0" else Answer(401)

    with serving(closed) as server:
        assert content(run(source(server), tmp_path / "cache", NOBODY)) == NEEDED
