"""ms:// against a server that speaks ModelScope's protocol."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.unit.finetune_trainer.fetch.conftest import BIG, NEEDED, WEIGHTS, content, run
from tests.unit.finetune_trainer.fetch.serving import Answer, Asked, Scope, Server, file, serving

from finetune_trainer import fetch
from finetune_trainer.fetch.errors import AccessDenied, ChecksumWrong, FetchError, SourceDown, SourceNotFound

SOURCE = "ms://org/tiny"
Held = tuple[Scope, Server]


def at(server: Server, token: str = "") -> fetch.Credentials:
    return fetch.Credentials(ms_endpoint=server.url, ms_token=token)


def test_a_model_is_known_by_its_content(scope: Held, tmp_path: Path) -> None:
    held, server = scope
    fetched = run(SOURCE, tmp_path, at(server))
    assert content(fetched) == NEEDED
    assert fetched.folder.parent == tmp_path / "ms/org/tiny"
    assert run(f"{SOURCE}@v1", tmp_path, at(server)).folder == fetched.folder
    held.files["config.json"] = b"{}"
    moved = run(SOURCE, tmp_path, at(server))
    assert moved.folder != fetched.folder
    assert content(fetched) == NEEDED


def test_a_cut_connection_is_continued(scope: Held, tmp_path: Path) -> None:
    _, server = scope
    server.cuts[BIG] = [1_000_000]
    assert content(run(SOURCE, tmp_path, at(server))) == NEEDED
    first, second = (one.range for one in server.of(BIG))
    assert first is None
    assert 0 < int(str(second).removeprefix("bytes=").removesuffix("-")) <= 1_000_000


def test_a_wrong_checksum_is_refused(scope: Held, tmp_path: Path) -> None:
    held, server = scope
    held.sent[BIG] = bytes(len(WEIGHTS))
    with pytest.raises(ChecksumWrong, match=f"{BIG}: expected sha256:{hashlib.sha256(WEIGHTS).hexdigest()}, found "):
        run(SOURCE, tmp_path, at(server))


def test_the_token_goes_in_both_ways(scope: Held, tmp_path: Path) -> None:
    held, server = scope
    held.token = "ms-secret"
    run(SOURCE, tmp_path, at(server, "ms-secret"))
    assert {(one.headers["authorization"], one.headers["cookie"]) for one in server.asked} == {
        ("Bearer ms-secret", "m_session_id=ms-secret")
    }


def test_a_redirect_to_another_host_takes_no_token_along(scope: Held, tmp_path: Path) -> None:
    held, server = scope
    held.token = "ms-secret"
    with serving(lambda up, asked: file(NEEDED[asked.path.removeprefix("/")])) as elsewhere:

        def route(up: Server, asked: Asked) -> Answer:
            answer = held.answer(up, asked)
            moved = {"Location": f"{elsewhere.url}/{asked.query.get('FilePath')}"}
            return Answer(302, headers=moved) if answer.is_file else answer

        server.route = route
        assert content(run(SOURCE, tmp_path, at(server, "ms-secret"))) == NEEDED
    assert elsewhere.asked
    assert not [one for one in elsewhere.asked if "authorization" in one.headers or "cookie" in one.headers]


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "MODELSCOPE_API_TOKEN is needed, and is not set (no permission)"),
        ("ms-mistyped", "MODELSCOPE_API_TOKEN is wrong, or its owner may not read it (no permission)"),
    ],
)
def test_a_token_that_is_missing_or_wrong_is_told(scope: Held, token: str, words: str, tmp_path: Path) -> None:
    held, server = scope
    held.token = "ms-secret"
    with pytest.raises(AccessDenied) as denied:
        run(SOURCE, tmp_path, at(server, token))
    assert str(denied.value) == f"{SOURCE}: {words}"


@pytest.mark.parametrize("source", ["ms://org/other", "ms://org/tiny@v9"])
def test_what_is_not_there_is_told(scope: Held, source: str, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=f"^{source}: .* has no such model or no revision "):
        run(source, tmp_path, at(scope[1]))


def test_a_listing_that_may_be_cut_short_is_refused(scope: Held, tmp_path: Path) -> None:
    held, server = scope
    held.extra = 3000
    with pytest.raises(FetchError, match="has 3000 files or more, and ModelScope lists no more than that"):
        run(SOURCE, tmp_path, at(server))


def test_another_server_at_the_address_is_told(tmp_path: Path) -> None:
    with (
        serving(lambda up, asked: Answer(200, b"{}")) as server,
        pytest.raises(SourceDown, match="MODELSCOPE_ENDPOINT"),
    ):
        run(SOURCE, tmp_path, at(server))
