"""A model from a hub: fetched once by a Job without a GPU, through the hub's failures, before any rank starts."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster import jobs, trial
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster, SharedFolder
from tests.unit.finetune_trainer.fetch.serving import COMMIT, Hub, say

pytestmark = pytest.mark.cluster

WEIGHTS = "model.safetensors"
SHORT = {"num_train_epochs": 0.25}
"""5 steps."""
SECRET = "hf_not-to-be-seen-anywhere"


@pytest.fixture
def hub(operator: OperatorProcess, shared: SharedFolder, machine_cluster: Cluster) -> Iterator[Hub]:
    """A hub on this machine that holds the tiny model; the data lie on the claim."""
    jobs.make_inputs(shared.path)
    files = {path.name: path.read_bytes() for path in (shared.path / "model").iterdir()}
    assert machine_cluster.host is not None
    with Hub(files, token=SECRET, address=machine_cluster.host).up() as up:
        yield up


@pytest.fixture
def models(machine_cluster: Cluster, namespace: str, hub: Hub) -> SharedFolder:
    """The cache, and the hub's token in a Secret."""
    machine_cluster.kubectl("-n", namespace, "create", "secret", "generic", "hub", f"--from-literal=HF_TOKEN={SECRET}")
    return machine_cluster.share(namespace, "models")


def fetching(name: str, hub: Hub, **storage: Any) -> dict[str, Any]:
    """A job of two nodes whose model lies at the hub."""
    wanted = jobs.tiny(name, training=SHORT, env=[{"name": "HF_ENDPOINT", "value": hub.hub.url}])
    wanted["spec"]["model"] = {"uri": "hf://org/tiny", "secretRef": {"name": "hub"}}
    wanted["spec"]["storage"] |= storage
    return wanted


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=marks, id=f"seed{seed}") for seed, marks in trial.seeds(in_ci=True)]
)
def test_a_hub_that_stops_in_the_middle_is_gone_on_with(
    machine_cluster: Cluster, namespace: str, shared: SharedFolder, models: SharedFolder, hub: Hub, *, seed: int
) -> None:
    answer, size = hub.cdn.route, len(hub.files[WEIGHTS])
    row = {"fault": "a hub stops in the middle of a download", "seed": seed, "lost": 0}
    hub.cdn.cuts[WEIGHTS] = [random.Random(f"hub, {seed}").randrange(size // 10, size)]
    hub.cdn.route = lambda server, asked: (
        answer(server, asked) if len(server.of(WEIGHTS)) <= 1 else say(503, {"error": "away"})
    )
    job = jobs.submit(machine_cluster, namespace, fetching("fetched", hub, cache={"claimName": "models"}))
    job.until("a pod that gave up", lambda status: "tried again" in status.get("message", ""))
    assert job.status["state"] == "Preparing"
    assert (job.condition("Ready")["status"], job.condition("Prepared")["status"]) == ("True", "False")
    assert machine_cluster.list("pytorchjobs", namespace) == []
    hub.cdn.route, back = answer, time.time()
    told = {"reason": job.condition("Prepared")["reason"], "message": job.status["message"]}
    row |= {**told, "rank": None, "node": None, "counted": False}
    job.until("an attempt", lambda status: status.get("attempt") == 1)
    row["seconds"] = round(time.time() - back, 1)
    job.until_state("Succeeded")
    folder = models.path / "hf" / "org" / "tiny" / COMMIT
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert job.status["preparation"]["model"] == f"/models/hf/org/tiny/{COMMIT}"
    assert hub.cdn.of(WEIGHTS)[-1].range is not None, "it went on where the hub had stopped"
    assert len(jobs.losses(jobs.output(shared.path, job))) == 5
    seen = machine_cluster.kubectl("-n", namespace, "get", "ftj,job,pods,configmaps,pytorchjobs,events", "-o", "yaml")
    logs = "".join(path.read_text(errors="replace") for path in machine_cluster.logs.rglob("*.log"))
    assert SECRET not in seen
    assert SECRET not in logs
    trial.keep(row)


def test_a_wrong_token_is_told_and_takes_no_node(
    machine_cluster: Cluster, namespace: str, models: SharedFolder, hub: Hub
) -> None:
    hub.token = "another one"
    job = jobs.submit(machine_cluster, namespace, fetching("denied", hub, cache={"claimName": "models"}))
    failed = machine_cluster.wait(
        "the refusal", lambda: job.status if job.status.get("state") == "Failed" else None, jobs.ENDED
    )
    assert "hf://org/tiny" in failed["message"]
    assert job.condition("Prepared")["reason"] == "AccessDenied"
    assert machine_cluster.list("pytorchjobs", namespace) == []
    hub.token = SECRET
    machine_cluster.kubectl("-n", namespace, "delete", "job", "denied-prepare")
    job.until("an attempt", lambda status: status.get("attempt") == 1 or status["state"] == "Failed")


@pytest.mark.slow
def test_without_a_cache_each_pod_fetches_for_itself(
    machine_cluster: Cluster, namespace: str, shared: SharedFolder, models: SharedFolder, hub: Hub
) -> None:
    wanted = fetching("alone", hub)
    (ours,) = wanted["spec"]["podTemplate"]["spec"]["containers"]
    wanted["spec"]["podTemplate"]["spec"]["initContainers"] = [{**ours, "name": "fetch"}]
    job = jobs.submit(machine_cluster, namespace, wanted)
    job.until_state("Succeeded")
    assert len(hub.cdn.of(WEIGHTS)) == 2
    assert machine_cluster.list("jobs", namespace) == []
    assert len(jobs.losses(jobs.output(shared.path, job))) == 5
