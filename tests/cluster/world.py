"""One job of two attempts, an operator behind a proxy, and what must be true of both whatever the world does.

The job's pods are played (`played_pods`): its worker fails once, and the second attempt succeeds.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune_operator import names

from . import jobs, trial
from .api_proxy import ApiProxy, Fault
from .jobs import Job
from .operator_process import OperatorProcess
from .played_pods import SCHEDULING, PlayedPods
from .session import Cluster
from .watcher import Watcher

RESYNC = 5
"""Seconds; 60 unless set. The tests' operator looks at every job more often, so that a lost event costs seconds."""
NAME = "job"
A_LIFE = 120
"""Calls that the job's two attempts may take, from the operator's start to the job's end ..."""
IN_FAULT = 240
"""... and on top a minute of the fault, its watches' among them."""
AT_REST = 150
"""The same at rest, with this resync; with that of an installation there are a twelfth as many passes."""
A_START = 40
"""Calls of an operator that starts: it looks for the kinds that it serves, lists and watches them."""
ENDED = 90
"""Seconds for a job of 3 s of work, whatever the world does."""


class World:
    """See the module.

    Attributes:
        proxy: between operator and API server.
        pods: the kubelet's part.
        job: after `submit`.
        draw: random numbers of this fault and seed.
        row: what docs/faults-operator.md will tell.
    """

    job: Job

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        folder: Path,
        proxy: ApiProxy,
        pods: PlayedPods,
        *,
        fault: str,
        seed: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.cluster, self.namespace, self.proxy, self.pods = cluster, namespace, proxy, pods
        self.draw = random.Random(f"{fault}, {seed}")
        self.watcher = Watcher(cluster, namespace)
        self.operator = OperatorProcess(cluster, folder, server=proxy.url, environment=environment)
        self.second = OperatorProcess(cluster, folder, server=proxy.url, second=True)
        self.row: dict[str, Any] = {"fault": fault, "seed": seed}
        self._began = self._faulty_from = self._faulty_to = time.monotonic()

    def end(self) -> None:
        """Stop what runs."""
        self.proxy.fault = Fault()
        for one in (self.operator, self.second):
            one.kill()
        self.watcher.stop()

    def submit(self, **spec: Any) -> Job:
        """Apply the job, and begin to count calls."""
        self.cluster.share(self.namespace)
        wanted = jobs.tiny(NAME, scheduling=SCHEDULING, **spec)
        del wanted["spec"]["podTemplate"]
        self._began = time.monotonic()
        self.job = jobs.submit(self.cluster, self.namespace, wanted)
        return self.job

    def breaks(self, fault: Fault) -> None:
        """From now on."""
        self._faulty_from = time.monotonic()
        self.proxy.fault = fault

    def mends(self) -> None:
        """The fault is over."""
        self.proxy.fault = Fault()
        self._faulty_to = time.monotonic()

    def running(self, attempt: int) -> None:
        """Wait until an attempt's pods run."""
        self.cluster.wait(f"attempt {attempt} to run", lambda: attempt in self._alive() or None, ENDED, step=0.05)

    def succeeds(self) -> None:
        """The job ends well after two attempts, and all that must be true of it is true."""
        self.job.until_state("Succeeded", ENDED)
        self.row["seconds"] = round(time.monotonic() - self._began, 1)
        self.keeps_its_word(self.job.status)
        assert self.watcher.beside_each_other() == []
        assert self.watcher.pods_before(2) == set()
        assert self.watcher.attempts() == [1, 2], "numbered without gaps, each once"
        self.cluster.wait("nothing of attempt 1 to be left", lambda: not self.strays() or None)

    def keeps_its_word(self, status: Mapping[str, Any]) -> None:
        """A status of a job that succeeded with its second attempt."""
        told = [(one["number"], one["reason"], one["counted"]) for one in status["attempts"]]
        assert told == [(1, "Crashed", True), (2, "Succeeded", False)], json.dumps(status, indent=1)
        conditions = {one["type"]: one["status"] for one in status["conditions"]}
        assert (conditions["Succeeded"], conditions["Ready"]) == ("True", "True")
        assert "Stalled" not in conditions
        assert "Reconciling" not in conditions

    def strays(self) -> list[str]:
        """Children that no job owns, or of an attempt that is over."""
        return [found for raw in self.children() if (found := trial.stray(raw, NAME, 2))]

    def children(self) -> list[dict[str, Any]]:
        """Everything in the namespace that carries the job's label."""
        kinds = "pytorchjobs,jobs,pods,configmaps"
        text = self.cluster.kubectl("-n", self.namespace, "get", kinds, "-l", names.LABEL_JOB, "-o", "json")
        return list(json.loads(text)["items"])

    def leaves_nothing(self) -> None:
        """The job is deleted, and all its children with it."""
        self.cluster.kubectl("-n", self.namespace, "delete", "ftj", NAME, "--timeout=60s")
        self.cluster.wait("its children to go", lambda: not self.children() or None)

    def is_modest(self, *, operators: int = 1, starts: int = 0) -> None:
        """Calls of an operator in the fault, in which it started so often, and at rest afterwards, are in bounds."""
        if self._faulty_to <= self._faulty_from:
            self.mends()
        minutes = max(self._faulty_to - self._faulty_from, 10.0) / 60
        self.row["calls"] = self._a_minute(self._faulty_from, self._faulty_to, operators)
        made = self.proxy.calls(self._faulty_from, self._faulty_to)
        assert made.total() <= operators * (A_LIFE + IN_FAULT * minutes + A_START * starts), made
        self.cluster.wait("the operator", self.operator.healthy)
        time.sleep(RESYNC)  # its last start, or the last late event, may have been a moment ago
        begin = time.monotonic()
        time.sleep(2 * RESYNC)
        self.row["rest"] = self._a_minute(begin, time.monotonic(), operators)
        assert self.row["rest"] <= AT_REST, self.proxy.calls(begin)

    def tells(self, condition: str, reason: str, words: str) -> None:
        """Wait for a condition with this reason and these words."""

        def told() -> bool | None:
            found = self.job.condition(condition)
            return (found.get("reason") == reason and words in found["message"]) or None

        self.cluster.wait(f"{condition} to tell {reason}", told)
        self.row["told"] = self.job.condition(condition)["message"]

    @contextmanager
    def under(self, policy: Mapping[str, Any]) -> Iterator[None]:
        """A ResourceQuota or LimitRange of the namespace, for as long as the `with` lasts."""
        manifest = {"apiVersion": "v1", "metadata": {"name": "scarce"}, **policy}
        self.cluster.apply(manifest, self.namespace)
        try:
            self.cluster.wait("the quota to count", lambda: self._counts(manifest["kind"]) or None)
            yield
        finally:
            self.cluster.kubectl("-n", self.namespace, "delete", manifest["kind"], "scarce")

    def _counts(self, kind: str) -> bool:
        found = self.cluster.get(kind, "scarce", self.namespace) or {}
        return kind != "ResourceQuota" or "hard" in found.get("status", {})

    def keep(self) -> None:
        """Write down what was measured, where somebody wants it."""
        trial.keep(self.row)

    def _a_minute(self, since: float, until: float, operators: int) -> int:
        return round(60 * self.proxy.calls(since, until).total() / max(until - since, 10.0) / operators)

    def _alive(self) -> set[int]:
        """Attempts with two pods that run."""
        last = {one.name: one for one in self.watcher.changes() if one.kind == "Pod"}
        running = [one.attempt for one in last.values() if one.running and not one.deleting]
        return {attempt for attempt in running if running.count(attempt) == 2}
