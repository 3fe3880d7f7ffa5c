"""What a reward server may answer, and what is said when it does not: one line each."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from finetune_trainer.reward_server import RewardServer, RewardServerDown, RewardServerWrong


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A server that gives these answers, one after the other; its URL, and what it was asked."""
    asked: list[dict[str, object]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, text = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *words: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/score", asked
    finally:
        server.shutdown()
        server.server_close()


def test_scores_as_llamafactory_asks_for_them() -> None:
    with answering((200, '{"scores": [1, -0.5]}')) as (url, asked):
        assert RewardServer(url).scores(["one", "two"]) == [1.0, -0.5]
    assert asked == [{"model": "model", "messages": ["one", "two"]}]


def test_a_server_that_is_busy_is_asked_again() -> None:
    with answering((503, ""), (429, ""), (200, '{"scores": [3]}')) as (url, asked):
        assert RewardServer(url, backoff=0.0).scores(["one"]) == [3.0]
    assert len(asked) == 3


def test_a_server_that_keeps_failing() -> None:
    with answering((500, ""), (500, "")) as (url, _), pytest.raises(RewardServerDown) as down:
        RewardServer(url, attempts=2, backoff=0.0).scores(["one"])
    assert str(down.value) == f"reward_model: no answer from {url}: too many 500 error responses"


def test_nobody_listens() -> None:
    with answering() as (url, _):
        pass
    with pytest.raises(RewardServerDown) as down:
        RewardServer(url, attempts=2, backoff=0.0).scores(["one"])
    assert str(down.value).startswith(f"reward_model: no answer from {url}: ")
    assert "Connection refused" in str(down.value)
    assert "\n" not in str(down.value)
    assert down.value.retryable


def test_a_server_that_takes_too_long() -> None:
    held = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            held.wait(5)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(RewardServerDown, match="timed out"):
        RewardServer(f"http://127.0.0.1:{server.server_port}/", timeout=0.2, attempts=1).scores(["one"])
    held.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, "<html>"), "this is no JSON: '<html>'"),
        ((200, "[1.0]"), 'expected {"scores": [number, ...]}'),
        ((200, '{"scores": [1.0, 2.0, 3.0]}'), "3 scores for 2 texts"),
        ((200, '{"scores": [1.0, null]}'), 'expected {"scores": [number, ...]}'),
        ((200, '{"scores": [1.0, NaN]}'), "is not to be used"),
        ((404, "nothing here"), "answers 404 Not Found"),
    ],
    ids=str,
)
def test_an_answer_that_is_not_to_be_used(answer: tuple[int, str], words: str) -> None:
    with answering(answer) as (url, _), pytest.raises(RewardServerWrong) as wrong:
        RewardServer(url).scores(["one", "two"])
    assert words in str(wrong.value)
    assert url in str(wrong.value)
    assert not wrong.value.retryable
