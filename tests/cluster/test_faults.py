"""What breaks on purpose, at a random step: docs/faults.md is made of what these tests measure (`make faults`).

In each there is at most one attempt that lives, nothing is left over, the run goes on from the last complete
checkpoint, and its losses are those of the unbroken run.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import faults, jobs
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster
from tests.cluster.trial import Trial, seeds

from finetune_trainer import records

pytestmark = pytest.mark.cluster


def fault(name: str, *, in_ci: bool = False) -> pytest.MarkDecorator:
    """A row of docs/faults.md, tried under every seed; one of them in CI, for what is covered nowhere else."""
    cases = [pytest.param((name, seed), marks=marks, id=f"seed{seed}") for seed, marks in seeds(in_ci=in_ci)]
    return pytest.mark.parametrize("trial", cases, indirect=True)


@pytest.fixture
def trial(
    request: pytest.FixtureRequest,
    machine_cluster: Cluster,
    namespace: str,
    inputs: Path,
    unbroken: dict[int, float],
) -> Iterator[Trial]:
    """A job that is not begun yet, and a watch over its namespace."""
    name, seed = request.param
    made = Trial(machine_cluster, namespace, inputs, fault=name, seed=seed, unbroken=unbroken)
    yield made
    made.watcher.stop()


@fault("a rank is killed, its pod ends with exit code 1", in_ci=True)
def test_a_rank_that_is_killed(trial: Trial) -> None:
    job = trial.begin()
    node, victim = trial.node("worker"), faults.rank(job, trial.pod("worker"))
    trial.breaks()
    faults.send(signal.SIGKILL, [victim])
    record = trial.ended("Crashed", counted=True)
    assert (record["rank"], record["node"]) == (1, node)
    assert "SIGKILL" in record["message"]
    assert record["logTail"]
    trial.resumes()
    trial.succeeds()


@fault("all processes of the worker's pod are killed")
def test_a_worker_that_is_killed_with_its_supervisor(trial: Trial) -> None:
    job = trial.begin()
    node, victims = trial.node("worker"), faults.processes(job, trial.pod("worker"))
    trial.breaks()
    faults.send(signal.SIGKILL, victims)
    record = trial.ended("Crashed", counted=True)
    assert record["node"] == node
    assert "exit code 137" in record["message"]
    trial.resumes()
    trial.succeeds()


@fault("all processes of the master's pod are killed")
def test_a_master_that_is_killed(trial: Trial) -> None:
    job = trial.begin()
    node, victims = trial.node("master"), faults.processes(job, trial.pod("master"))
    trial.breaks()
    faults.send(signal.SIGKILL, victims)
    record = trial.ended("Crashed", counted=True)
    assert record["node"] == node
    trial.resumes()
    trial.succeeds()


@fault("a rank is frozen by SIGSTOP", in_ci=True)
def test_a_rank_that_is_frozen(trial: Trial) -> None:
    policy = {"maxAttempts": 3, "hangTimeoutSeconds": 15, "terminationGracePeriodSeconds": 60}
    job = trial.begin(runPolicy=policy)
    node, victim = trial.node("worker"), faults.rank(job, trial.pod("worker"))
    trial.breaks()
    faults.send(signal.SIGSTOP, [victim])
    record = trial.ended("RankStopped", counted=True)
    assert (record["rank"], record["node"]) == (1, node)
    assert "rank 1 (stopped)\nThread" in (trial.output / ".finetune" / "stacks-1-1.txt").read_text()
    trial.resumes()
    trial.succeeds()


@fault("a worker's pod is deleted", in_ci=True)
def test_a_pod_that_is_deleted(trial: Trial) -> None:
    trial.begin()
    trial.breaks()
    trial.cluster.kubectl("-n", trial.namespace, "delete", "pod", trial.pod("worker"), "--wait=false")
    trial.ended("PodDeleted", "PodReplaced", "PodLost", "Stopped", counted=True)
    trial.resumes(lost=0)
    trial.succeeds()


@fault("a pod is evicted")
def test_a_pod_that_is_evicted(trial: Trial) -> None:
    trial.begin()
    trial.breaks()
    faults.evict(trial.cluster, trial.namespace, trial.pod("worker"))
    trial.ended("Disrupted", counted=False)
    trial.resumes(lost=0)
    trial.succeeds()


@fault("the worker's node is drained")
def test_a_node_that_is_drained(trial: Trial) -> None:
    job = trial.begin()
    node = trial.node("worker")
    trial.breaks()
    with faults.drained(trial.cluster, node, f"finetune.dev/job-name={job.name},finetune.dev/attempt=1"):
        record = trial.ended("Disrupted", counted=False)
        assert record["node"] == node
        trial.resumes(lost=0)
    trial.succeeds()


@fault("a pod is preempted: SIGTERM with grace")
def test_a_pod_that_is_preempted(trial: Trial) -> None:
    trial.begin()
    node = trial.node("worker")
    trial.breaks()
    with faults.preempted(trial.cluster, trial.namespace, node):
        record = trial.ended("Disrupted", counted=False)
        assert record["node"] == node
        trial.resumes(lost=0)
        trial.succeeds()


@fault("a rank uses more memory than its pod may", in_ci=True)
def test_a_rank_that_the_kernel_kills_for_memory(trial: Trial) -> None:
    job = trial.begin()
    node, victim = trial.node("worker"), faults.rank(job, trial.pod("worker"))
    trial.breaks()
    faults.run_out_of_memory(victim)
    record = trial.ended("OutOfMemory", counted=True)
    assert (record["rank"], record["node"]) == (1, node)
    assert "resources.memory" in record["message"]
    trial.fails()


@fault("a pod uses more memory than it may, and all of it is killed: exit code 137")
def test_a_pod_that_the_kernel_kills_for_memory(trial: Trial) -> None:
    job = trial.begin()
    node, everything = trial.node("worker"), faults.processes(job, trial.pod("worker"))
    trial.breaks()
    faults.run_out_of_memory(faults.rank(job, trial.pod("worker")))
    faults.send(signal.SIGKILL, everything)  # as the kernel does by itself under cgroup v2
    record = trial.ended("OutOfMemory", counted=True)
    assert (record["rank"], record["node"]) == (1, node)
    assert "used more memory than it may: raise spec.resources.memory" in record["message"]
    trial.fails()
    trial.goes_on_anew(resources={"nodes": 2, "gpusPerNode": 0, "memory": "3500Mi"})


@fault("the operator is killed in the middle of a restart")
def test_an_operator_that_is_killed_in_a_restart(trial: Trial, operator: OperatorProcess) -> None:
    job = trial.begin()
    victims = faults.processes(job, trial.pod("worker"))
    moment = trial.draw.choice(["before the record", "the record", "the next attempt"])
    pause = trial.draw.uniform(0, 2)
    trial.breaks()
    faults.send(signal.SIGKILL, victims)
    reached = {
        "before the record": lambda: True,
        "the record": lambda: bool(job.status.get("attempts")) or None,
        "the next attempt": lambda: trial.watcher.created(2),
    }
    trial.cluster.wait(moment, reached[moment], jobs.ENDED, step=0.05)
    operator.kill()
    time.sleep(pause)
    operator.start()
    trial.ended("Crashed", counted=True)
    trial.resumes()
    trial.succeeds()
    assert [one["number"] for one in job.status["attempts"]] == [1, 2]


@fault("a rank is killed in the middle of a save", in_ci=True)
def test_a_checkpoint_that_is_half_written(trial: Trial) -> None:
    job = trial.begin()
    step = 5 * (trial.step // 5 + 1)
    victims = faults.processes(job, trial.pod(trial.draw.choice(["master", "worker"])))
    folder = trial.output / f"checkpoint-{step}"
    faults.half_written(folder)
    trial.breaks()
    faults.send(signal.SIGKILL, victims)
    trial.ended("Crashed", counted=True)
    assert trial.resumes() == step - 5, "a torn checkpoint is never chosen"
    trial.succeeds()


@fault("a gradient is not finite")
def test_a_row_that_ruins_the_weights(trial: Trial) -> None:
    trial.step = trial.row["drawn"] = 6 + trial.step % 14  # of the first 20, in which no row comes twice
    faults.poison(trial.folder, row=8 * (trial.step - 1) + trial.draw.randrange(8))
    trial.submit(training={**jobs.TRAINING, "disable_shuffling": True})
    record = trial.ended("LossNotFinite", counted=True)
    assert record["rank"] in {0, 1}
    assert record["step"] in {trial.step, trial.step + 1}, "seen where it is saved, or in the next step's loss"
    assert f"step {trial.step}" in record["message"] or f"step {trial.step + 1}" in record["message"]
    assert max(mark.step for mark in trial.marked()) < trial.step, "nothing ruined is kept as a checkpoint"
    trial.fails()


@fault("a pod of another world size comes: somebody scales the PyTorchJob")
def test_a_pod_that_counts_another_number_of_nodes(trial: Trial) -> None:
    trial.begin()
    change = [{"op": "replace", "path": "/spec/pytorchReplicaSpecs/Worker/replicas", "value": 2}]
    trial.breaks()
    trial.cluster.kubectl(
        "-n", trial.namespace, "patch", "pytorchjob", "job-1", "--type=json", "-p", json.dumps(change)
    )
    record = trial.ended("WorldSizeMismatch", counted=True)
    assert "run.json says 2 nodes, the pod was started with PET_NNODES=3" in record["message"]
    trial.fails()


@fault("a kubelet is stopped, and the node's ranks run on")
def test_a_node_whose_ranks_run_on_unseen(trial: Trial, operator: OperatorProcess) -> None:
    operator.ensure({"lost_pod_seconds": 5})
    node = faults.quiet_node(trial.cluster)
    job = trial.begin(
        podTemplate=faults.rather_on(node, jobs.overlay()),
        runPolicy={"maxAttempts": 3, "terminationGracePeriodSeconds": 10},
    )
    assert {trial.node("master"), trial.node("worker")} == {node}
    old = [*faults.processes(job, trial.pod("master")), *faults.processes(job, trial.pod("worker"))]
    fence = trial.output / records.STATE_DIR / records.FENCE_FILE
    try:
        trial.breaks()
        trial.cluster.stop_kubelet(node)
        faults.send(signal.SIGSTOP, old)  # or they would be at the run's end before the node is missed
        record = trial.ended("Disrupted", counted=False)
        assert record["node"] == node
        trial.resumes(left=lambda pods: pods == {trial.pod("master"), trial.pod("worker")})
        claimed = trial.cluster.wait("the fence", lambda: records.Fence.from_json(fence.read_text()).attempt == 2)
        assert claimed
        faults.send(signal.SIGCONT, old)
        refused = trial.output / records.STATE_DIR / records.OUTCOME_FILE.format(attempt=1, node_rank=0)
        trial.cluster.wait("the old ranks to be refused", lambda: refused.exists() or None)
        assert records.Outcome.from_json(refused.read_text()).reason == "Fenced"
        job.until_state("Succeeded")
        trial.cluster.start_kubelet(node)
        trial.succeeds()
        resumed = trial.row["resumed"]
        assert {mark.attempt for mark in trial.marked() if mark.step > resumed} == {2}
    finally:
        faults.send(signal.SIGKILL, old)
        trial.cluster.start_kubelet(node)


@fault("the disk is full in the middle of a save")
def test_a_disk_that_is_full(trial: Trial) -> None:
    disk = trial.folder / trial.namespace
    disk.mkdir()
    jobs.give(disk)
    with faults.small_disk(disk, 200):
        job = trial.begin()
        trial.breaks()
        with faults.full(disk, spare=trial.draw.randint(1 << 19, 1 << 21)):
            trial.ended("DiskFull", "Crashed")
        trial.cluster.wait("what becomes of it", lambda: trial.watcher.created(2) or job.status["state"] == "Failed")
        if job.status["state"] == "Failed":
            trial.fails()
        else:
            trial.resumes()
            trial.succeeds()
