"""The chart, installed by the real Helm: the operator as a pod, with the chart's rights and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.cluster import helm, jobs
from tests.cluster.harness.layout import CHECKOUT
from tests.cluster.harness.waiting import ClusterError
from tests.cluster.helm import Release
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

pytestmark = pytest.mark.cluster


@pytest.fixture
def release(machine_cluster: Cluster, operator: OperatorProcess, namespace: str, tmp_path: Path) -> Iterator[Release]:
    """A release that is not installed yet, and no other operator."""
    operator.stop()
    assert machine_cluster.layout is not None
    made = Release(layout=machine_cluster.layout, name="platform", namespace=f"{namespace}-system", folder=tmp_path)
    yield made
    made.uninstall()
    machine_cluster.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait=false")
    definition = str(CHECKOUT / "crds" / "finetunejobs.yaml")  # of a test that ended between two charts
    machine_cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", definition)


def test_the_previous_chart_tested_upgraded_in_the_middle_of_a_run_and_uninstalled(
    machine_cluster: Cluster, inputs: Path, namespace: str, release: Release
) -> None:
    kubectl = machine_cluster.kubectl
    admission = {"enabled": True, "failurePolicy": "Fail"}
    said = release.install(helm.values(namespaces=[namespace], admission=admission), helm.PREVIOUS)
    assert f"serves jobs in {namespace}" in said
    new_field = ("explain", "finetunejob.spec.runPolicy.keepFailedSeconds")
    with pytest.raises(ClusterError, match="does not exist"):
        kubectl(*new_field)
    assert "Phase:          Succeeded" in release.test()
    with pytest.raises(ClusterError, match=r"spec\.training\.lerning_rate: .*did you mean learning_rate"):
        jobs.submit(machine_cluster, namespace, jobs.tiny("wrong", training={"lerning_rate": 1.0e-3}))
    certificate = ("-n", release.namespace, "get", "secret", "platform-finetune-operator-admission", "-o", "yaml")
    signed = kubectl(*certificate)
    job = jobs.submit(machine_cluster, namespace, jobs.tiny("job", training={"num_train_epochs": 5.0}))
    job.until_step(1)
    before = kubectl("-n", release.namespace, "get", "pods", "-o", "name").split()
    release.upgrade(helm.values(namespaces=[namespace], admission=admission, settings={"progressSeconds": 2}))
    assert "after a job has failed" in kubectl(*new_field), "the definition came with the chart"
    assert _data(kubectl(*certificate)) == _data(signed), "the API server goes on trusting it"
    status = job.status
    assert (status["state"], status["attempt"], status.get("attempts")) == ("Running", 1, []), "it is in its run"
    after = kubectl("-n", release.namespace, "get", "pods", "-o", "name").split()
    assert not set(before) & set(after), "another operator took over"
    status = job.until_state("Succeeded")
    assert [record["number"] for record in status["attempts"]] == [1], "and the run went on"
    assert len(jobs.losses(jobs.output(inputs, job))) == 100
    release.uninstall()
    assert job.status["state"] == "Succeeded"
    assert kubectl("get", "crd", "finetunejobs.finetune.dev", "-o", "name").strip()

    def left() -> list[str]:
        names = kubectl("-n", release.namespace, "get", "all,roles,rolebindings,configmaps", "-o", "name").split()
        return [name for name in names if "kube-root-ca" not in name]

    machine_cluster.wait("nothing of it to be left", lambda: not left() or None)


def test_jobs_of_other_namespaces_are_not_its_own(
    machine_cluster: Cluster, inputs: Path, namespace: str, release: Release
) -> None:
    other = f"{namespace}-other"
    machine_cluster.kubectl("create", "namespace", other)
    try:
        release.install(helm.values(namespaces=[other]))
        job = jobs.submit(machine_cluster, namespace, jobs.tiny("job"))
        account = f"--as=system:serviceaccount:{release.namespace}:platform-finetune-operator"
        can = ("auth", "can-i", "create", "pytorchjobs.kubeflow.org", account)
        assert machine_cluster.kubectl(*can, "-n", other).strip() == "yes"
        with pytest.raises(ClusterError, match="no"):
            machine_cluster.kubectl(*can, "-n", namespace)
        elsewhere = jobs.submit(machine_cluster, other, jobs.tiny("job", storage={}))
        elsewhere.until("a word", lambda status: "state" in status)
        assert job.status.get("state") is None
    finally:
        machine_cluster.kubectl("delete", "namespace", other, "--wait=false")


def _data(secret: str) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(secret)["data"]
    return found
