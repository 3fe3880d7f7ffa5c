"""Memory and CPU of the processes that share the machine, and how many requests the API server answered."""

from __future__ import annotations

import re
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
from benchmarks import scale_watch
from tests.cluster.harness import controlplane
from tests.cluster.harness.layout import Layout

COMPONENTS = ("kube-apiserver", "etcd", "training-operator", "kube-scheduler", "kube-controller-manager", "kwok")
OURS = "ours"
_REQUESTS = re.compile(
    r'^apiserver_request_total\{.*?resource="([^"]*)".*?subresource="([^"]*)",verb="([A-Z]+)".*\} (\S+)$'
)
_ASKED = re.compile(r'^finetune_operator_api_requests_total\{code="(\d+)",resource="([^"]*)",verb="([^"]*)"\} (\S+)$')


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the processes took so far."""

    cpu: Mapping[str, float]
    """Process -> seconds of CPU."""
    rss: Mapping[str, float]
    """Process -> resident MiB."""
    requests: Counter[str]
    """`VERB resource` -> requests that the API server answered, of all clients, watches left out."""

    def since(self, before: Usage) -> Usage:
        """CPU and requests since then; memory as it is now."""
        cpu = {name: seconds - before.cpu.get(name, 0.0) for name, seconds in self.cpu.items()}
        return Usage(cpu=cpu, rss=self.rss, requests=self.requests - before.requests)


def now(place: Layout, ours: int | None) -> Usage:
    """As it is now; `ours` is the process that is measured."""
    pids = {name: controlplane.component(place, name).pids() for name in COMPONENTS}
    if ours is not None:
        pids[OURS] = [ours]
    processes = {name: [psutil.Process(pid) for pid in found] for name, found in pids.items() if found}
    return Usage(
        cpu={name: sum(sum(one.cpu_times()[:2]) for one in found) for name, found in processes.items()},
        rss={name: sum(one.memory_info().rss for one in found) / 2**20 for name, found in processes.items()},
        requests=_requests(scale_watch.get(place, "/metrics").decode()),
    )


def asked(url: str) -> Counter[str]:
    """`VERB resource` -> requests, as our operator counts its own on /metrics; kopf's watches are not among them."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        metrics = answer.read().decode()
    counted: Counter[str] = Counter()
    for line in metrics.splitlines():
        if found := _ASKED.match(line):
            counted[f"{found[3]} {found[2]}"] += int(float(found[4]))
    return counted


def _requests(metrics: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for line in metrics.splitlines():
        if (found := _REQUESTS.match(line)) and found[3] not in {"WATCH", "CONNECT"}:
            counted[f"{found[3]} {found[1]}" + (f"/{found[2]}" if found[2] else "")] += int(float(found[4]))
    return counted
