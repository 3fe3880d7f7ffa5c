"""What changed when, by this process's own clock: a watch of the API server in a thread.

Times in Kubernetes objects have whole seconds; these are of the moment in which the API server told this process, some
milliseconds after it was so.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

from tests.cluster.harness.layout import API_PORT, Layout

FINETUNEJOBS = "/apis/finetune.dev/v1alpha1/namespaces/{}/finetunejobs"
PYTORCHJOBS = "/apis/kubeflow.org/v1/namespaces/{}/pytorchjobs"
PODS = "/api/v1/namespaces/{}/pods"
Marks = Callable[[Mapping[str, Any]], Iterator[str]]
"""An object as it is now -> names of what is true of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """First times by (mark, object's name), and how often each object changed."""

    first: dict[tuple[str, str], float] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)

    def times(self, mark: str) -> dict[str, float]:
        """Object -> when this became true of it, in seconds of `time.monotonic`."""
        return {name: when for (what, name), when in self.first.items() if what == mark}

    def count(self, mark: str) -> int:
        """Of how many objects it is true."""
        return sum(what == mark for what, _ in tuple(self.first))


@contextmanager
def watched(place: Layout, path: str, marks: Marks) -> Iterator[Seen]:
    """Watch a collection for as long as the `with` lasts; what is there already counts as seen now."""
    seen = Seen()
    connection = _connection(place)
    connection.request("GET", f"{path}?watch=1")
    connected = connection.sock
    answer = connection.getresponse()
    thread = threading.Thread(target=_read, args=(answer, marks, seen), name=f"watch {path}", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        connected.shutdown(socket.SHUT_RDWR)  # wakes the reader, which waits in it
        thread.join(10)
        connection.close()


def get(place: Layout, path: str) -> bytes:
    """The answer to one GET."""
    connection = _connection(place)
    connection.request("GET", path)
    try:
        return connection.getresponse().read()
    finally:
        connection.close()


def finetunejob(raw: Mapping[str, Any]) -> Iterator[str]:
    """created; told: a status of its generation; and its state."""
    yield "created"
    status = raw.get("status", {})
    if status.get("observedGeneration") == raw["metadata"]["generation"]:
        yield "told"
        yield f"told {raw['metadata']['generation']}"
        yield str(status.get("state"))


def pytorchjob(raw: Mapping[str, Any]) -> Iterator[str]:
    """created, and the training operator's conditions."""
    yield "created"
    for condition in raw.get("status", {}).get("conditions", ()):
        if condition["status"] == "True":
            yield condition["type"]


def pod(raw: Mapping[str, Any]) -> Iterator[str]:
    """created, and its phase."""
    yield "created"
    yield str(raw.get("status", {}).get("phase"))


def _connection(place: Layout) -> HTTPSConnection:
    context = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
    context.load_cert_chain(place.pki / "admin.crt", place.pki / "admin.key")
    return HTTPSConnection("127.0.0.1", API_PORT, context=context, timeout=3600)


def _read(answer: HTTPResponse, marks: Marks, seen: Seen) -> None:
    """Until the connection is closed, by us or by the API server."""
    try:
        for line in answer:
            now = time.monotonic()
            raw = json.loads(line)["object"]
            name = raw["metadata"]["name"]
            seen.changes[name] = seen.changes.get(name, 0) + 1
            for mark in marks(raw):
                seen.first.setdefault((mark, name), now)
    except (OSError, ValueError, HTTPException):
        return
