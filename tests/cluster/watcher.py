"""What becomes of a job's PyTorchJobs and pods while a test runs: every change, in the API server's own order.

Two watches write down what they see; the resource version, which is one count for the whole cluster, puts both in one
order. What must hold at every moment is asked afterwards. The raw events are kept beside the cluster's logs.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from threading import Thread
from typing import IO, Any

from finetune_operator import names

from .session import Cluster

KINDS = ("pytorchjobs", "pods")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Change:
    """One object of an attempt as it was from this version on."""

    version: int
    seen: float
    """Unix seconds at which the watch told of it."""
    kind: str
    name: str
    attempt: int
    exists: bool
    deleting: bool
    running: bool
    """The trainer's container runs, as far as the API server knows."""


class Watcher:
    """Watches one namespace from its making until `stop`."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._log = (cluster.logs / f"{namespace}-changes.jsonl").open("w", encoding="utf-8", buffering=1)
        self._changes: list[Change] = []
        self._processes = [
            cluster.kubectl.watch("-n", namespace, "get", kind, "--output-watch-events", "-o", "json")
            for kind in KINDS
        ]
        outputs = [one.stdout for one in self._processes if one.stdout is not None]
        self._threads = [Thread(target=self._note, args=[output], daemon=True) for output in outputs]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the watches."""
        for process in self._processes:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join()
        self._log.close()

    def changes(self) -> list[Change]:
        """So far, in the cluster's order."""
        return sorted(self._changes)

    def created(self, attempt: int) -> float | None:
        """When an attempt's PyTorchJob was first seen, in Unix seconds."""
        found = (one for one in self.changes() if (one.kind, one.attempt) == ("PyTorchJob", attempt))
        return next((one.seen for one in found), None)

    def attempts(self) -> list[int]:
        """Attempts in the order in which their PyTorchJobs were created; one that was created anew is there twice."""
        found: list[int] = []
        there: set[str] = set()
        for change in self.changes():
            if change.kind == "PyTorchJob":
                if change.exists and change.name not in there:
                    found.append(change.attempt)
                (there.add if change.exists else there.discard)(change.name)
        return found

    def beside_each_other(self) -> list[str]:
        """Where two attempts lived at a time: running pods that nobody has deleted, or PyTorchJobs."""
        now: dict[tuple[str, str], Change] = {}
        found = []
        for change in self.changes():
            now[change.kind, change.name] = change
            pods = {one.attempt for one in now.values() if one.kind == "Pod" and one.running and not one.deleting}
            jobs = {one.attempt for one in now.values() if one.kind == "PyTorchJob" and one.exists}
            if len(pods) > 1 or len(jobs) > 1:
                found.append(f"version {change.version}: running pods of attempts {pods}, PyTorchJobs of {jobs}")
        return found

    def pods_before(self, attempt: int) -> set[str]:
        """Pods of older attempts that were still there when an attempt's PyTorchJob was created."""
        left: dict[str, Change] = {}
        for change in self.changes():
            if (change.kind, change.attempt) == ("PyTorchJob", attempt):
                break
            if change.kind == "Pod":
                left[change.name] = change
        return {one.name for one in left.values() if one.exists}

    def _note(self, output: IO[str]) -> None:
        for line in output:
            self._log.write(line)
            event = json.loads(line)
            change = _change(event["type"], event["object"])
            if change is not None:
                self._changes.append(change)


def _change(event: str, raw: dict[str, Any]) -> Change | None:
    metadata = raw["metadata"]
    attempt = metadata.get("labels", {}).get(names.LABEL_ATTEMPT)
    if attempt is None:
        return None
    containers = raw.get("status", {}).get("containerStatuses", [])
    running = any("running" in one["state"] for one in containers if one["name"] == names.CONTAINER)
    return Change(
        version=int(metadata["resourceVersion"]),
        seen=time.time(),
        kind=raw["kind"],
        name=metadata["name"],
        attempt=int(attempt),
        exists=event != "DELETED",
        deleting="deletionTimestamp" in metadata,
        running=running and event != "DELETED",
    )
