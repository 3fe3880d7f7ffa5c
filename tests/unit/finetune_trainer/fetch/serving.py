"""Real HTTP servers on this machine: bytes with ranges that can be cut off, and the protocols of hubs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "org/tiny"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def file(self) -> str:
        """The file that is meant, without its folder."""
        return self.query.get("FilePath", self.path).rpartition("/")[2]


@dataclass(frozen=True)
class Answer:
    """What is sent; bodies of files know ranges."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_file: bool = False


@dataclass
class Server:
    """Answers by `route`. `cuts` maps a file to the bytes after which a connection ends, one for each request."""

    route: Callable[[Self, Asked], Answer]
    asked: list[Asked] = field(default_factory=list)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    """File -> the bytes after which one answer stands still until `go`."""
    go: threading.Event = field(default_factory=threading.Event)
    knows_ranges: bool = True
    url: str = ""

    def of(self, name: str, method: str = "GET") -> list[Asked]:
        """Requests for a file."""
        return [one for one in self.asked if one.file == name and one.method == method]


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def file(body: bytes, **headers: str) -> Answer:
    return Answer(body=body, headers={"ETag": etag(body)} | headers, is_file=True)


def say(status: int, told: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(told).encode(), {"Content-Type": "application/json"} | named)


@contextmanager
def serving(route: Callable[[Server, Asked], Answer], address: str = "127.0.0.1") -> Iterator[Server]:
    server = Server(route)
    http = ThreadingHTTPServer((address, 0), _handler(server))
    http.daemon_threads = True
    server.url = f"http://{address}:{http.server_port}"
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.go.set()
        http.shutdown()
        http.server_close()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(method=self.command, path=unquote(url.path), query=query, headers=headers)
            server.asked.append(asked)
            answer = server.route(server, asked)
            if server.knows_ranges:
                answer = _ranged(answer, asked)
            self._send(answer, asked)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _send(self, answer: Answer, asked: Asked) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            body, cuts = answer.body, server.cuts.get(asked.file)
            if asked.file in server.holds:
                sent = server.holds.pop(asked.file)
                self.wfile.write(body[:sent])
                server.go.wait(60)
                body = body[sent:]
            if cuts:
                self.wfile.write(body[: cuts.pop(0)])
                self.close_connection = True
                return
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Quiet."""

    return Handler


def _ranged(answer: Answer, asked: Asked) -> Answer:
    """RFC 9110: a range, unless If-Range names another content."""
    if not answer.is_file or asked.range is None:
        return answer
    if asked.headers.get("if-range", answer.headers["ETag"]) != answer.headers["ETag"]:
        return answer
    first = int(asked.range.removeprefix("bytes=").removesuffix("-"))
    size = len(answer.body)
    if first >= size:
        return Answer(416, headers={"Content-Range": f"bytes */{size}"})
    headers = dict(answer.headers) | {"Content-Range": f"bytes {first}-{size - 1}/{size}"}
    return Answer(206, answer.body[first:], headers)


@dataclass
class Hub:
    """A model at Hugging Face: small files in Git, weights at another host (here: port) behind a redirect."""

    files: dict[str, bytes]
    token: str | None = None
    """The only one that may read."""
    is_gated: bool = False
    sent: dict[str, bytes] = field(default_factory=dict)
    """Bytes that come instead of a file's own."""
    revisions: tuple[str, ...] = ("main", COMMIT)
    address: str = "127.0.0.1"
    hub: Server = field(init=False)
    cdn: Server = field(init=False)

    @contextmanager
    def up(self) -> Iterator[Self]:
        with serving(self._bytes, self.address) as self.cdn, serving(self._answer, self.address) as self.hub:
            yield self

    def _answer(self, server: Server, asked: Asked) -> Answer:
        given = asked.headers.get("authorization")
        if given is not None and given != f"Bearer {self.token}":
            return say(401, {}, X_Error_Message="Invalid credentials in Authorization header")
        if self.token and given is None and not self.is_gated:
            return say(401, {}, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        if asked.path.startswith(f"/api/models/{MODEL}/revision/"):
            return self._listing(asked.path.rpartition("/revision/")[2])
        resolved = f"/{MODEL}/resolve/{COMMIT}/"
        if asked.path.startswith(resolved):
            return self._resolved(asked.path.removeprefix(resolved), is_known=given is not None)
        return say(404, {}, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")

    def _listing(self, revision: str) -> Answer:
        if revision not in self.revisions:
            return say(404, {}, X_Error_Code="RevisionNotFound", X_Error_Message=f"Invalid rev id: {revision}")
        return say(200, {"sha": COMMIT, "siblings": [_sibling(name, body) for name, body in self.files.items()]})

    def _resolved(self, name: str, *, is_known: bool) -> Answer:
        if self.is_gated and not is_known:
            return say(401, {}, X_Error_Code="GatedRepo", X_Error_Message="Access to model is restricted")
        if name not in self.files:
            return say(404, {}, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        headers = {"X-Repo-Commit": COMMIT}
        if not name.endswith(".safetensors"):
            return file(self.sent.get(name, self.files[name]), **headers)
        sha = hashlib.sha256(self.files[name]).hexdigest()
        headers |= {"X-Linked-Etag": f'"{sha}"', "Location": f"{self.cdn.url}/{name}"}
        return Answer(302, headers=headers)

    def _bytes(self, server: Server, asked: Asked) -> Answer:
        name = asked.path.removeprefix("/")
        return file(self.sent.get(name, self.files[name]))


def _sibling(name: str, body: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()
    told: dict[str, Any] = {"rfilename": name, "size": len(body), "blobId": blob}
    if name.endswith(".safetensors"):
        told["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
    return told


@dataclass
class Scope:
    """A model at ModelScope."""

    files: dict[str, bytes]
    token: str | None = None
    sent: dict[str, bytes] = field(default_factory=dict)
    extra: int = 0
    """Entries more, as folders."""

    def answer(self, server: Server, asked: Asked) -> Answer:
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return say(403, {"Code": 403, "Message": "no permission", "Success": False})
        if not asked.path.startswith(f"/api/v1/models/{MODEL}/") or asked.query["Revision"] not in ("master", "v1"):
            return say(404, {"Code": 10010205001, "Message": "not found", "Success": False})
        if asked.path.endswith("/repo/files"):
            folders = [{"Path": f"f{number}", "Type": "tree", "Size": 0} for number in range(self.extra)]
            listed = [*folders, *(_entry(name, body) for name, body in self.files.items())]
            return say(200, {"Code": 200, "Success": True, "Data": {"Files": listed}})
        name = asked.query["FilePath"]
        return file(self.sent.get(name, self.files[name]))


def _entry(name: str, body: bytes) -> dict[str, Any]:
    sha = hashlib.sha256(body).hexdigest()
    return {"Path": name, "Name": name, "Type": "blob", "Size": len(body), "Sha256": sha, "Revision": COMMIT}
