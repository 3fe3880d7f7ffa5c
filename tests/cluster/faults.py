"""Ways to break a job that runs on the harness's own cluster, from outside, as kernels, people and clusters do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from tests.tiny_model import make_tiny_model

from .harness.process import CGROUPS, command
from .harness.waiting import until
from .jobs import Job, give
from .session import Cluster

_HOG = """
import time
held = []
while True:
    held.append(b"x" * (8 << 20))
    time.sleep(0.005)
"""
_POISON = "~"
_SPARE = 64 << 20
_JOIN_AND_RUN = 'echo $$ > "$0"/cgroup.procs && echo 999 > /proc/self/oom_score_adj && exec "$@"'
"""Once the victim is dead, and until it is stopped, this one is the next: never the victim's launcher."""


def processes(job: Job, pod: str) -> list[psutil.Process]:
    """A pod's processes on this machine."""
    uid = job.pods()[pod]["metadata"]["uid"]
    found = [process for process in psutil.process_iter() if uid in _cgroups(process)]
    assert found, f"no process of {pod} on this machine"
    return found


def rank(job: Job, pod: str) -> psutil.Process:
    """A pod's only rank."""
    ranks = [one for one in processes(job, pod) if "--in-job" in _command(one)]
    ranks = [one for one in ranks if "torch.distributed.run" not in _command(one)]
    assert len(ranks) == 1, f"{len(ranks)} ranks in {pod}"
    return ranks[0]


def send(number: signal.Signals, victims: Sequence[psutil.Process]) -> None:
    """A signal to processes, some of which may have ended; psutil never takes another one with the same id."""
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(number)


def evict(cluster: Cluster, namespace: str, pod: str) -> None:
    """Ask for an eviction, as a drain or a descheduler does."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


@contextmanager
def drained(cluster: Cluster, node: str, selector: str) -> Iterator[None]:
    """Drain a node of some pods; it is open again after the `with`."""
    try:
        cluster.kubectl(
            *("drain", node, f"--pod-selector={selector}", "--force"),
            *("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s"),
        )
        yield
    finally:
        cluster.kubectl("uncordon", node)


@contextmanager
def preempted(cluster: Cluster, namespace: str, node: str) -> Iterator[None]:
    """A pod of higher priority that needs nearly all of a node's memory; it goes after the `with`."""
    name = f"{namespace}-urgent"
    header = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}}
    cluster.apply(header | {"value": 1000, "description": "a test's"})
    try:
        cluster.apply(_urgent(cluster, name, node), namespace)
        yield
    finally:
        cluster.kubectl("-n", namespace, "delete", "pod", "urgent", "--ignore-not-found", "--wait=false")
        cluster.kubectl("delete", "priorityclass", name)


def _urgent(cluster: Cluster, priority: str, node: str) -> dict[str, Any]:
    from .harness.images import PAUSE_IMAGE

    body = cluster.get("node", node, "default") or {}
    said = str(body["status"]["allocatable"]["memory"])  # "25276514303", or "24684096Ki"
    free = int(said.removesuffix("Ki")) * (1024 if said.endswith("Ki") else 1) - (1 << 30)
    container = {"name": "urgent", "image": PAUSE_IMAGE, "resources": {"requests": {"memory": str(free)}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "urgent"},
        "spec": {
            "priorityClassName": priority,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }


def run_out_of_memory(victim: psutil.Process) -> None:
    """Fill the memory of a process's container until the kernel kills that process for it, and return then.

    The container may have little more than it has already, so that this machine's own memory does not end.
    """
    Path(f"/proc/{victim.pid}/oom_score_adj").write_text("1000")
    path = next(line for line in _cgroups(victim).splitlines() if ":memory:" in line).rpartition(":")[2]
    group = Path(f"{CGROUPS / 'memory'}{path}")
    used = int((group / "memory.usage_in_bytes").read_text())
    (group / "memory.limit_in_bytes").write_text(str(used + _SPARE))
    argv = ["sh", "-c", _JOIN_AND_RUN, str(group), sys.executable, "-c", _HOG]
    hog = subprocess.Popen(argv)
    try:
        until("the kernel to kill for memory", lambda: _ended(victim), limit=60, step=0.01)
    finally:
        hog.kill()
        hog.wait()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own on a folder, of limited size."""
    owner = folder.stat()
    options = f"size={megabytes}m,uid={owner.st_uid},gid={owner.st_gid},mode=0755"
    command("mount", "-t", "tmpfs", "-o", options, "finetune-test", folder)
    try:
        yield
    finally:
        command("umount", "--lazy", folder)


@contextmanager
def full(folder: Path, *, spare: int) -> Iterator[None]:
    """Inside the `with`, the folder's file system has `spare` bytes left."""
    state = os.statvfs(folder)
    filler = folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - spare)
    try:
        yield
    finally:
        filler.unlink()


def half_written(folder: Path, limit: float = 120) -> None:
    """Return at the moment when something of a checkpoint is on disk, and not its mark."""
    end = time.monotonic() + limit
    while not any(folder.rglob("*.*")):
        assert time.monotonic() < end, f"{folder} did not come"
        time.sleep(0.001)


def poison(folder: Path, row: int) -> None:
    """Give a model an embedding that ruins the gradient, and one row of the data the only word that uses it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_tiny_model(folder / "model", tied=False)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    (token,) = tokenizer.encode(_POISON, add_special_tokens=False)
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    with torch.no_grad():
        model.model.embed_tokens.weight[token] = 3e38  # its square is infinite, its normalised form is not
    model.save_pretrained(folder / "model")
    file = folder / "words.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    assert not any(_POISON in one["instruction"] for one in rows)
    rows[row % len(rows)]["instruction"] += _POISON
    file.write_text(json.dumps(rows), encoding="utf-8")
    give(folder)


def quiet_node(cluster: Cluster) -> str:
    """A node without the training operator."""
    taken = {pod["spec"].get("nodeName") for pod in cluster.list("pods", "kubeflow")}
    return next(name for name in ("node1", "node2") if name not in taken)


def rather_on(node: str, template: dict[str, Any]) -> dict[str, Any]:
    """A pod template that prefers a node for all pods, and takes another one where that does not answer."""
    wish = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    term = {"weight": 100, "preference": {"matchExpressions": [wish]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    return {**template, "spec": {**template["spec"], "affinity": affinity, "topologySpreadConstraints": []}}


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


def _ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _cgroups(process: psutil.Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:  # it has ended meanwhile
        return ""
