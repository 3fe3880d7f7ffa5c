"""The poster against a real HTTP server."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from supervised_pod import Pod, until
from tests.certificates import Authority

from finetune_trainer.records import Progress
from finetune_trainer.supervise.post import Poster


class Server:
    """Keeps what is posted; answers with `status`."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status = 200
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.posts.append((dict(self.headers), body))
                self.send_response(server.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/jobs/team/demo"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def behind_tls(server: Server, tmp_path: Path) -> str:
    """The same server at https://localhost, known by ca.crt."""
    Authority("intake").write(tmp_path, "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    return f"https://localhost:{server.http.server_port}/jobs/team/demo"


def progress(file: Path, step: int) -> None:
    text = Progress(time=1.8e9, phase="training", step=step, total_steps=20, loss=float("nan")).to_json()
    (file.parent / "new").write_text(text)
    (file.parent / "new").replace(file)


def test_news_are_posted_in_kubeflows_protocol(server: Server, tmp_path: Path) -> None:
    file, token = tmp_path / "progress.json", tmp_path / "token"
    token.write_text("first\n")
    progress(file, 1)
    poster = Poster(server.url, token, file, interval=0.02)
    until(lambda: len(server.posts) == 1)
    token.write_text("renewed")
    progress(file, 5)
    until(lambda: len(server.posts) == 2)
    poster.close()
    (first, _), (second, body) = server.posts
    assert (first["Authorization"], second["Authorization"]) == ("Bearer first", "Bearer renewed")
    assert second["Content-Type"] == "application/json"
    status = body["trainerStatus"]
    assert (status["progressPercentage"], status["lastUpdatedTime"]) == (25, "2027-01-15T08:00:00+00:00")
    assert {"name": "step", "value": "5"} in status["metrics"]
    assert {"name": "loss", "value": "nan"} in status["metrics"]


def test_no_news_no_post(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    poster = Poster(server.url, None, file, interval=0.01)
    progress(file, 1)
    until(lambda: server.posts)
    poster.close()
    assert len(server.posts) == 1


def test_the_last_word_is_posted_at_the_end(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    poster = Poster(server.url, None, file, interval=600)
    progress(file, 20)
    poster.close()
    assert server.posts[0][1]["trainerStatus"]["progressPercentage"] == 100


def test_a_failure_is_told_once_and_tried_again(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "progress.json"
    server.status = 403
    progress(file, 1)
    poster = Poster(server.url, None, file, interval=0.01)
    until(lambda: len(server.posts) >= 5)
    server.status = 200
    poster.close()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert "HTTP 403" in told[0]


def test_a_token_that_is_not_there_is_told(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    progress(tmp_path / "progress.json", 1)
    Poster(server.url, tmp_path / "token", tmp_path / "progress.json", interval=600).close()
    assert not server.posts
    assert "token" in caplog.text


def test_the_operator_is_reached_without_a_proxy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    progress(tmp_path / "progress.json", 1)
    Poster(server.url, None, tmp_path / "progress.json", interval=600).close()
    assert len(server.posts) == 1


def test_the_operator_is_known_by_the_certificates_that_were_given(
    server: Server, behind_tls: str, tmp_path: Path
) -> None:
    progress(tmp_path / "progress.json", 1)
    Poster(behind_tls, None, tmp_path / "progress.json", interval=600, ca_file=tmp_path / "ca.crt").close()
    assert len(server.posts) == 1


@pytest.mark.parametrize("known", ["nothing", "another authority", "another name"])
def test_nothing_is_posted_to_a_stranger(
    server: Server, behind_tls: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, known: str
) -> None:
    other = tmp_path / "other.crt"
    other.write_text(Authority("another").text)
    files = {"nothing": None, "another authority": other, "another name": tmp_path / "ca.crt"}
    url = behind_tls.replace("localhost", "127.0.0.1") if known == "another name" else behind_tls
    token = tmp_path / "token"
    token.write_text("a-token")
    progress(tmp_path / "progress.json", 1)
    Poster(url, token, tmp_path / "progress.json", interval=600, ca_file=files[known]).close()
    assert not server.posts
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
    assert "a-token" not in caplog.text


def test_other_certificates_are_read_when_those_known_do_not_fit(
    server: Server, behind_tls: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = tmp_path / "known.crt"
    known.write_text(Authority("before").text)
    progress(tmp_path / "progress.json", 1)
    poster = Poster(behind_tls, None, tmp_path / "progress.json", interval=0.05, ca_file=known)
    until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
    known.write_text((tmp_path / "ca.crt").read_text())
    until(lambda: len(server.posts) == 1)
    poster.close()


PROGRESS = 'leave("progress.json", Progress(time=1.8e9, phase="saving", step=20, total_steps=20))\n'
DONE = 'leave("result.json", RunResult(result="succeeded", step=20))\n'


def test_the_pod_of_rank_0_posts(pod: Pod, server: Server) -> None:
    pod.configure(progress_url=server.url)
    assert pod.outcome(PROGRESS + DONE)[0] == 0
    assert len(server.posts) == 1


def test_no_other_pod_posts(pod: Pod, server: Server) -> None:
    pod.configure(progress_url=server.url, nodes=2)
    assert pod.outcome(PROGRESS + DONE, PET_NNODES="2", PET_NODE_RANK="1")[0] == 0
    assert not server.posts


def test_an_operator_that_is_away_does_not_disturb(pod: Pod) -> None:
    pod.configure(progress_url="http://127.0.0.1:9/nobody")
    assert pod.outcome(PROGRESS + DONE)[0] == 0
    assert "training goes on" in pod.log.read_text()
