"""hf:// against a server that speaks the hub's protocol, with the weights on another port."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.unit.finetune_trainer.fetch.conftest import BIG, FILES, NEEDED, WEIGHTS, content, run
from tests.unit.finetune_trainer.fetch.serving import COMMIT, Answer, Hub

from finetune_trainer import fetch
from finetune_trainer.fetch.errors import AccessDenied, ChecksumWrong, SourceDown, SourceInvalid, SourceNotFound

SOURCE = "hf://org/tiny"


def at(hub: Hub, token: str = "") -> fetch.Credentials:
    return fetch.Credentials(hf_endpoint=hub.hub.url, hf_token=token)


def test_a_model_lies_in_the_cache_by_its_commit(hub: Hub, tmp_path: Path) -> None:
    fetched = run(SOURCE, tmp_path, at(hub))
    assert fetched.folder == tmp_path / "hf/org/tiny" / COMMIT
    assert content(fetched) == NEEDED
    assert (fetched.revision, fetched.bytes) == (COMMIT, sum(map(len, NEEDED.values())))
    assert fetched.left_out == {"pytorch_model.bin": "the same weights in another format"}
    told = json.loads((fetched.folder / "fetched.json").read_text())
    assert {one["name"]: one["checksum"] for one in told["files"]}[
        BIG
    ] == f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"
    assert [path.name for path in fetched.folder.parent.iterdir()] == [COMMIT]


def test_what_lies_there_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    fetched = run(SOURCE, tmp_path, at(hub))
    hub.hub.asked.clear()
    assert run(SOURCE, tmp_path, at(hub)) == fetched
    assert [one.path for one in hub.hub.asked] == ["/api/models/org/tiny/revision/main"]


def test_a_commit_that_lies_there_needs_no_network(hub: Hub, tmp_path: Path) -> None:
    run(SOURCE, tmp_path, at(hub))
    gone = fetch.Credentials(hf_endpoint="http://127.0.0.1:9")
    assert content(run(f"{SOURCE}@{COMMIT}", tmp_path, gone)) == NEEDED


def test_a_file_that_was_taken_away_comes_back(hub: Hub, tmp_path: Path) -> None:
    fetched = run(SOURCE, tmp_path, at(hub))
    (fetched.folder / BIG).unlink()
    hub.cdn.asked.clear()
    assert content(run(SOURCE, tmp_path, at(hub))) == NEEDED
    assert [one.path for one in hub.cdn.asked] == [f"/{BIG}"]


def test_a_cut_connection_is_continued(hub: Hub, tmp_path: Path) -> None:
    hub.cdn.cuts[BIG] = [1_000_000, 700_000]
    assert content(run(SOURCE, tmp_path, at(hub))) == NEEDED
    first, second, third = (one.range for one in hub.cdn.of(BIG))
    assert first is None
    starts = [int(str(one).removeprefix("bytes=").removesuffix("-")) for one in (second, third)]
    assert 1_000_000 - (1 << 18) <= starts[0] <= 1_000_000
    assert starts[0] < starts[1] <= starts[0] + 700_000


def test_a_server_that_goes_away_for_good_is_told_and_the_next_attempt_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.cdn.cuts[BIG] = [1_000_000, 0, 0]
    with pytest.raises(SourceDown) as down:
        run(SOURCE, tmp_path, at(hub))
    part = tmp_path / "hf/org/tiny" / COMMIT / f"{BIG}.incomplete"
    there = part.stat().st_size
    assert 0 < there <= 1_000_000
    assert str(down.value).startswith(f"{SOURCE}: {BIG}: the server went away 2 times in a row (")
    assert f"{there} of 3000000 bytes are in the cache, and the next attempt goes on from there" in str(down.value)
    assert down.value.retryable
    hub.cdn.asked.clear()
    assert content(run(SOURCE, tmp_path, at(hub))) == NEEDED
    assert [one.range for one in hub.cdn.of(BIG)] == [f"bytes={there}-"]


def test_a_server_that_is_busy_is_asked_again_as_often_as_is_said(hub: Hub, tmp_path: Path) -> None:
    real, busy = hub.cdn.route, [Answer(503)]
    hub.cdn.route = lambda server, asked: busy.pop() if busy else real(server, asked)
    assert content(run(SOURCE, tmp_path, at(hub))) == NEEDED
    hub.cdn.route = lambda server, asked: Answer(503)
    hub.cdn.asked.clear()
    (tmp_path / "hf/org/tiny" / COMMIT / BIG).unlink()
    with pytest.raises(SourceDown, match="too many 503 error responses"):
        run(SOURCE, tmp_path, at(hub))
    assert len(hub.cdn.asked) == 2


def test_a_server_without_ranges_starts_anew(hub: Hub, tmp_path: Path) -> None:
    hub.cdn.knows_ranges = False
    hub.cdn.cuts[BIG] = [1_000_000]
    assert content(run(SOURCE, tmp_path, at(hub))) == NEEDED
    assert len(hub.cdn.of(BIG)) == 2


@pytest.mark.parametrize("name", [BIG, "config.json"])
def test_a_wrong_checksum_is_refused_after_a_second_try(hub: Hub, name: str, tmp_path: Path) -> None:
    hub.sent[name] = bytes(len(FILES[name]))
    with pytest.raises(ChecksumWrong) as wrong:
        run(SOURCE, tmp_path, at(hub))
    if name == BIG:
        expected, found = (hashlib.sha256(body).hexdigest() for body in (WEIGHTS, hub.sent[name]))
        assert f"{BIG}: expected sha256:{expected}, found sha256:{found}, twice" in str(wrong.value)
    assert len((hub.cdn if name == BIG else hub.hub).of(name)) == 2
    folder = tmp_path / "hf/org/tiny" / COMMIT
    assert not (folder / name).exists()
    assert not (folder / "fetched.json").exists()
    assert not (folder / f"{name}.incomplete").exists()


def test_what_broke_on_the_disk_is_fetched_anew(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "hf/org/tiny" / COMMIT
    folder.mkdir(parents=True)
    (folder / f"{BIG}.incomplete").write_bytes(bytes(2_000_000))
    assert content(run(SOURCE, tmp_path, at(hub))) == NEEDED
    assert [one.range for one in hub.cdn.of(BIG)] == ["bytes=2000000-", None]


@pytest.mark.parametrize("body", [b"too short", bytes(3_000_001)])
def test_a_file_of_another_size_is_refused(hub: Hub, body: bytes, tmp_path: Path) -> None:
    hub.sent[BIG] = body
    with pytest.raises(ChecksumWrong, match=f"{BIG}: expected 3000000 bytes, found "):
        run(SOURCE, tmp_path, at(hub))


def test_a_token_opens_and_does_not_go_to_another_host(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    fetched = run(SOURCE, tmp_path, at(hub, "hf_secret"))
    assert all(one.headers["authorization"] == "Bearer hf_secret" for one in hub.hub.asked)
    assert hub.cdn.asked
    assert not [one for one in hub.cdn.asked if "authorization" in one.headers or "cookie" in one.headers]
    assert "hf_secret" not in (fetched.folder / "fetched.json").read_text()
    assert "hf_secret" not in repr(at(hub, "hf_secret"))


def test_a_wrong_token_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    with pytest.raises(AccessDenied) as denied:
        run(SOURCE, tmp_path, at(hub, "hf_mistyped"))
    assert str(denied.value).startswith(f"{SOURCE}: HF_TOKEN is wrong or has expired; make one at https://")
    assert "hf_mistyped" not in str(denied.value)


def test_a_gated_model_lists_its_files_and_refuses_them(hub: Hub, tmp_path: Path) -> None:
    hub.is_gated = True
    with pytest.raises(AccessDenied) as denied:
        run(SOURCE, tmp_path, at(hub))
    assert str(denied.value) == (
        f"{SOURCE}: needs its authors' permission, and HF_TOKEN is not set; ask for it at {hub.hub.url}/org/tiny"
    )


@pytest.mark.parametrize(
    ("source", "token", "words"),
    [
        ("hf://org/other", None, "has no such model, or it is private and needs HF_TOKEN"),
        ("hf://org/tiny", "hf_secret", "has no such model, or it is private and needs HF_TOKEN"),
        ("hf://org/tiny@v9", None, "the model has no revision 'v9'; see "),
    ],
)
def test_what_is_not_there_is_told(hub: Hub, source: str, token: str | None, words: str, tmp_path: Path) -> None:
    hub.token = token
    with pytest.raises(SourceNotFound) as missing:
        run(source, tmp_path, at(hub))
    assert str(missing.value).startswith(f"{source}: ")
    assert words in str(missing.value)


def test_a_hub_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        SourceDown, match=r"^hf://org/tiny: http://127\.0\.0\.1:9 gives no answer: .*Connection refused"
    ):
        run(SOURCE, tmp_path, fetch.Credentials(hf_endpoint="http://127.0.0.1:9"))


@pytest.mark.parametrize("name", ["../outside.json", "/etc/outside", "a/../../b", "fetched.json", "a\\..\\b", ""])
def test_a_name_that_leaves_the_folder_is_refused(hub: Hub, name: str, tmp_path: Path) -> None:
    hub.files[name] = b"x"
    with pytest.raises(SourceInvalid, match="would not lie in the model's folder; nothing of it is fetched"):
        run(SOURCE, tmp_path, at(hub))
    assert list(tmp_path.rglob("*.json*")) == []
