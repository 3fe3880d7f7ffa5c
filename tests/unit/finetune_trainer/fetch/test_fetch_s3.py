"""s3:// against moto's server, with a proxy before it that cuts connections and keeps a log."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from dev import s3_server
from minio import Minio
from tests.unit.finetune_trainer.fetch.conftest import BIG, NEEDED, WEIGHTS, content, run
from tests.unit.finetune_trainer.fetch.serving import Answer, Asked, Server, serving

from finetune_trainer import fetch
from finetune_trainer.fetch.errors import AccessDenied, ChecksumWrong, SourceDown, SourceInvalid, SourceNotFound

SOURCE = "s3://models/team/tiny"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with s3_server.running() as url:
        client = Minio(urlsplit(url).netloc, "testing", "testing", secure=False, region="us-east-1")
        client.make_bucket("models")
        for name, body in NEEDED.items():
            client.put_object("models", f"team/tiny/{name}", io.BytesIO(body), len(body))
        yield url


@pytest.fixture
def proxy(store: str) -> Iterator[Server]:
    """Asks the store, and hands its answers on."""

    def route(server: Server, asked: Asked) -> Answer:
        answer = requests.request(
            asked.method, store + asked.path, params=asked.query, headers=asked.headers, timeout=10
        )
        kept = {name: value for name, value in answer.headers.items() if name.lower() in KEPT or "x-amz" in name}
        if asked.method == "HEAD":
            return Answer(answer.status_code, b"\0" * int(answer.headers.get("Content-Length", 0)), kept)
        return Answer(answer.status_code, answer.content, kept)

    with serving(route) as server:
        yield server


KEPT = ("etag", "content-type", "content-range", "last-modified")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")


def at(url: str) -> fetch.Credentials:
    return fetch.Credentials(s3_endpoint=url, s3_identity="keys")


def test_a_folder_of_a_bucket(keys: None, store: str, tmp_path: Path) -> None:
    fetched = run(SOURCE, tmp_path, at(store))
    assert content(fetched) == NEEDED
    assert fetched.folder.parent == tmp_path / "s3/models/team/tiny"
    checksums = {file.name: str(file.checksum) for file in fetched.files}
    assert checksums[BIG] == f"md5:{hashlib.md5(WEIGHTS).hexdigest()}"
    assert run(SOURCE, tmp_path, at(store)) == fetched
    assert "testing" not in (fetched.folder / "fetched.json").read_text()


def test_checksums_that_the_store_keeps(keys: None, store: str, tmp_path: Path) -> None:
    body, large = b"some weights", bytes(6 << 20)
    told = base64.b64encode(hashlib.sha256(body).digest()).decode()
    headers = {"x-amz-checksum-sha256": told, "x-amz-sdk-checksum-algorithm": "SHA256"}
    requests.put(f"{store}/models/sums/one.safetensors", data=body, headers=headers, timeout=10).raise_for_status()
    client = Minio(urlsplit(store).netloc, "testing", "testing", secure=False, region="us-east-1")
    client.put_object("models", "sums/parts.safetensors", io.BytesIO(large), len(large), part_size=5 << 20)
    checksums = {file.name: file.checksum for file in run("s3://models/sums", tmp_path, at(store)).files}
    assert str(checksums["one.safetensors"]) == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert checksums["parts.safetensors"] is None


def test_a_cut_connection_is_continued(keys: None, proxy: Server, tmp_path: Path) -> None:
    proxy.cuts[BIG] = [1_000_000]
    assert content(run(SOURCE, tmp_path, at(proxy.url))) == NEEDED
    first, second = proxy.of(BIG)
    assert first.range is None
    assert 0 < int(str(second.range).removeprefix("bytes=").removesuffix("-")) <= 1_000_000
    assert second.headers["if-range"] == f'"{hashlib.md5(WEIGHTS).hexdigest()}"'


def test_a_store_that_goes_away_is_told_without_its_signed_url(keys: None, proxy: Server, tmp_path: Path) -> None:
    proxy.cuts[BIG] = [1_000_000, 0, 0]
    with pytest.raises(SourceDown, match="are in the cache, and the next attempt goes on from there") as down:
        run(SOURCE, tmp_path, at(proxy.url))
    assert "Signature" not in str(down.value)


def test_a_wrong_checksum_is_refused(keys: None, proxy: Server, tmp_path: Path) -> None:
    real = proxy.route

    def broken(server: Server, asked: Asked) -> Answer:
        answer = real(server, asked)
        if asked.file == BIG and asked.method == "GET":
            return Answer(answer.status, bytes(len(answer.body)), answer.headers)
        return answer

    proxy.route = broken
    with pytest.raises(ChecksumWrong, match=f"{BIG}: expected md5:{hashlib.md5(WEIGHTS).hexdigest()}, found md5:"):
        run(SOURCE, tmp_path, at(proxy.url))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("s3://nobodys-bucket/tiny", "has no bucket nobodys-bucket; see AWS_ENDPOINT_URL"),
        ("s3://models/nothing", "the bucket models holds nothing under nothing/"),
    ],
)
def test_what_is_not_there_is_told(keys: None, store: str, source: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=words):
        run(source, tmp_path, at(store))


def test_names_that_leave_the_folder_are_refused(keys: None, proxy: Server, tmp_path: Path) -> None:
    real = proxy.route

    def listing(server: Server, asked: Asked) -> Answer:
        answer = real(server, asked)
        body = answer.body.replace(b"team/tiny/config.json", b"team/tiny/../../x.json")
        return Answer(answer.status, body, answer.headers) if "list-type" in asked.query else answer

    proxy.route = listing
    with pytest.raises(SourceInvalid, match=r"'\.\./\.\./x\.json', which would not lie in the model's folder"):
        run(SOURCE, tmp_path, at(proxy.url))


def test_wrong_keys_are_told(keys: None, tmp_path: Path) -> None:
    with s3_server.running(checks_keys=True) as url, pytest.raises(AccessDenied) as denied:
        run(SOURCE, tmp_path, at(url))
    assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN is wrong or has expired" in str(denied.value)
    assert "testing-secret" not in str(denied.value)


def test_a_store_that_is_not_there_is_told(keys: None, tmp_path: Path) -> None:
    with pytest.raises(SourceDown, match=r"http://127\.0\.0\.1:9 gives no answer: .*Connection refused"):
        run(SOURCE, tmp_path, at("http://127.0.0.1:9"))
