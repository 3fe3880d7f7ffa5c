"""Who tries to cross over: pods that speak for other jobs, and jobs that name what is not their namespace's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from tests.cluster import audit, forged, jobs, life
from tests.cluster.life import NOWHERE, Life, post
from tests.cluster.operator_process import ACCOUNT, NAMESPACE, OperatorProcess
from tests.cluster.session import Cluster

from finetune_operator.intake.doorkeeper import POSTS_IN_A_BURST
from finetune_operator.intake.server import BODY_LIMIT

pytestmark = pytest.mark.cluster


@pytest.fixture
def lives(machine_cluster: Cluster, operator: OperatorProcess, namespace: str) -> tuple[Life, Life]:
    """Two jobs of one namespace, a and b, whose pods are there."""
    life.make_claim(machine_cluster, namespace)
    made = [jobs.submit(machine_cluster, namespace, life.trains_at_once(name)) for name in ("a", "b")]
    first, second = (Life(job=job, intake_url=operator.intake_url or "") for job in made)
    for one in (first, second):
        one.pod("train", 1)
    return first, second


@pytest.fixture
def other(machine_cluster: Cluster, namespace: str) -> Iterator[str]:
    """Another namespace."""
    name = f"{namespace}-other"
    machine_cluster.kubectl("create", "namespace", name)
    yield name
    machine_cluster.delete_namespace(name)


def stranger(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """A pod that belongs to no job."""
    spec = {"nodeSelector": NOWHERE, "containers": [{"name": "a", "image": "a"}], "terminationGracePeriodSeconds": 0}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": spec}, namespace)
    return cluster.wait("the pod", lambda: cluster.get("pod", "stranger", namespace))


def test_a_pod_speaks_for_its_own_job_alone(
    machine_cluster: Cluster, lives: tuple[Life, Life], namespace: str, other: str
) -> None:
    a, b = lives
    pod_a, pod_b, here = a.pod("train", 1), b.pod("train", 1), stranger(machine_cluster, namespace)
    elsewhere = Life(job=jobs.Job(cluster=machine_cluster, namespace=other, name="a"), intake_url=a.intake_url)
    for_a = f"finetune.dev/intake/{namespace}/a"
    kubectl = machine_cluster.kubectl
    assert machine_cluster.layout is not None
    key = machine_cluster.layout.pki / "sa.key"
    tokens: dict[str, tuple[str | None, int]] = {
        "a's pod": (a.token(pod_a), 200),
        "b's pod, for a": (b.token(pod_b, for_a), 403),
        "b's pod, for b": (b.token(pod_b), 401),
        "a pod of no job, for a": (a.token(here, for_a), 403),
        "a pod of another namespace, for a": (elsewhere.token(stranger(machine_cluster, other), for_a), 403),
        "a's pod, for the API server": (a.token(pod_a, "https://kubernetes.default.svc"), 401),
        "the account, and no pod, for a": (
            kubectl("-n", namespace, "create", "token", "default", f"--audience={for_a}"),
            401,
        ),
        "a's pod, a minute before its end": (forged.with_end(a.token(pod_a), key, 60), 200),
        "a's pod, a minute after its end": (forged.with_end(a.token(pod_a), key, -60), 401),
        "a's pod, signed by nobody": (f"{a.token(pod_a).rpartition('.')[0]}.c2lnbmF0dXJl", 401),
        "no token": (None, 401),
        "not a token": ("x", 401),
    }
    answered = {who: post(a.intake_url, a.job, token) for who, (token, _) in tokens.items()}
    assert answered == {who: code for who, (_, code) in tokens.items()}
    gone = a.token(here, for_a)
    kubectl("-n", namespace, "delete", "pod", "stranger", "--grace-period=0", "--force")
    assert post(a.intake_url, a.job, gone) == 401, "a token ends with its pod"
    a.job.until("the progress that a's pod told", lambda status: status.get("progress", {}).get("step") == 7)
    assert "progress" not in b.job.status


def test_what_is_posted_has_a_shape_a_size_and_a_pace(lives: tuple[Life, Life]) -> None:
    a, _ = lives
    token, url, job = a.token(a.pod("train", 1)), a.intake_url, a.job
    assert post(url, job, token, b"\xff{garbage") == 400
    assert post(url, job, token, b'{"trainerStatus": {"metrics": [{"name": "step", "value": "-1"}]}}') == 400
    assert post(url, job, token, b" " * (BODY_LIMIT + 1)) == 413
    assert post(url, job, token, path="/v1/namespaces/..%2F../jobs/a/progress") == 404
    assert post(url, job, token, path=f"/v1/namespaces/{job.namespace}/jobs/..%2Fb/progress") == 404
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(url, job, token), range(3 * POSTS_IN_A_BURST)))
    assert set(answers) == {200, 429}


def named(**spec: Any) -> Callable[[str], dict[str, Any]]:
    """A job that says this; `{other}` stands for the other namespace."""
    return lambda other: json.loads(json.dumps(spec).replace("{other}", other))


THEIRS = "../../{other}/persistentvolumeclaims/theirs"
SECRET = {"secretKeyRef": {"name": "{other}/theirs", "key": "k"}}
CROSSING: dict[str, tuple[Callable[[str], dict[str, Any]], tuple[str, ...]]] = {
    "claim": (named(storage={"output": {"claimName": THEIRS}}), ("spec.storage.output.claimName: must be the name",)),
    "secret": (
        named(
            env=[{"name": "A", "valueFrom": SECRET}],
            podTemplate={"spec": {"volumes": [{"name": "s", "secret": {"secretName": "../{other}/theirs"}}]}},
        ),
        ("spec.env[0].valueFrom.secretKeyRef.name: ", "spec.podTemplate.spec.volumes[0].secret.secretName: "),
    ),
    "model-secret": (
        named(model={"uri": "hf://a/b", "secretRef": {"name": "{other}/theirs"}}),
        ("spec.model.secretRef.name: must be the name",),
    ),
    "privilege": (
        named(
            podTemplate={
                "spec": {
                    "hostPID": True,
                    "serviceAccountName": "admin",
                    "volumes": [{"name": "d", "nfs": {"server": "filer", "path": "/"}}],
                    "initContainers": [{"name": "i", "image": "i", "securityContext": {"privileged": True}}],
                    "containers": [{"name": "s", "image": "s", "securityContext": {"capabilities": {"add": ["ALL"]}}}],
                }
            }
        ),
        (
            "spec.podTemplate.spec.hostPID: ",
            "spec.podTemplate.spec.serviceAccountName: ",
            "spec.podTemplate.spec.volumes[0].nfs: ",
            "spec.podTemplate.spec.initContainers[0].securityContext.privileged: ",
            "spec.podTemplate.spec.containers[0].securityContext.capabilities: ",
        ),
    ),
}


def _refusal(job: jobs.Job) -> dict[str, Any] | None:
    return job.condition("Accepted") or None


def test_a_job_that_names_what_is_not_its_own_is_refused_with_each_path(
    machine_cluster: Cluster, operator: OperatorProcess, namespace: str, other: str
) -> None:
    operator.ensure({"allow_host_path": False})
    life.make_claim(machine_cluster, namespace)
    life.make_claim(machine_cluster, other, "theirs")
    made = {}
    for name, (says, _) in CROSSING.items():
        wanted = life.trains_at_once(name)
        wanted["spec"] |= says(other)
        made[name] = jobs.submit(machine_cluster, namespace, wanted)
    for name, (_, paths) in CROSSING.items():
        job = made[name]
        told = machine_cluster.wait(f"the refusal of {name}", partial(_refusal, job))
        assert told["status"] == "False"
        assert [path for path in paths if path not in told["message"]] == [], told["message"]
    assert machine_cluster.list("pytorchjobs", namespace) == []
    assert machine_cluster.list("jobs", namespace) == []
    assert machine_cluster.layout is not None
    with machine_cluster.layout.audit.open(encoding="utf-8") as lines:
        asked = list(audit.requests(lines, f"{NAMESPACE}:{ACCOUNT}"))
    assert [one.path for one in asked if "theirs" in one.path] == [], "and nothing was looked up elsewhere"
    assert [one.path for one in asked if not one.allowed] == []
    operator.ensure()
