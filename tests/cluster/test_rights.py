"""The chart's rights in each mode: all that a job's whole life asks for is granted, and nothing that it does not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import audit, chart_rights, jobs, life
from tests.cluster.audit import Right
from tests.cluster.can_i import QUESTIONS, answers
from tests.cluster.chart_rights import MODES, Rights
from tests.cluster.harness.waiting import ClusterError
from tests.cluster.life import Life
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster

pytestmark = pytest.mark.cluster

NOT_IN_THE_LOG: dict[Right, str] = {
    **{
        Right(verb="create", group=group, resource=resource): "server-side apply of an object that is not there yet"
        for group, resource in (("", "configmaps"), ("batch", "jobs"), ("kubeflow.org", "pytorchjobs"))
    },
    Right(verb="update", group="finetune.dev", resource="finetunejobs/finalizers"): (
        "children block their owner's deletion, which OwnerReferencesPermissionEnforcement asks about, where it is on"
    ),
    Right(verb="list", group="", resource="events"): "asked where pods are refused, as test_faults_operator.py has it",
    **{
        Right(verb=verb, group=group, resource=resource): "asked of Kueue, which test_queues.py has in its cluster"
        for verb, group, resource in (
            ("list", "kueue.x-k8s.io", "workloads"),
            ("get", "visibility.kueue.x-k8s.io", "localqueues/pendingworkloads"),
        )
    },
}
"""Rights that the API server asks about while it serves another request, so that the audit log has that one alone, and
those of what this life lacks."""
RESULTS = "FINETUNE_RIGHTS_RESULTS"
"""Of dev/rights_table.py: the folder for what was answered."""
OF_EVERYBODY = ("/api", "/apis", "/version", "/healthz")
"""What any account may read, to find out which kinds there are."""


@pytest.fixture(params=MODES)
def rights(
    request: pytest.FixtureRequest, machine_cluster: Cluster, no_operator: None, namespace: str
) -> Iterator[Rights]:
    """The rights of a mode, and no operator that serves everything."""
    with chart_rights.applied(machine_cluster, request.param, namespace) as found:
        yield found


def test_a_whole_life_asks_for_what_is_granted_and_for_all_of_it(
    machine_cluster: Cluster, namespace: str, rights: Rights, tmp_path: Path
) -> None:
    ours = OperatorProcess(machine_cluster, tmp_path, rights.account)
    life.make_claim(machine_cluster, namespace)
    ours.start({"namespaces": [namespace]} if rights.mode == "namespaced" else {})
    try:
        job = jobs.submit(machine_cluster, namespace, life.manifest("life"))
        Life(job=job, intake_url=ours.intake_url or "").whole()
    finally:
        ours.stop()
    granted = rights.all()

    def logged() -> list[audit.Request] | None:
        """Once the log has the operator's last words."""
        found = _requests(machine_cluster, rights, namespace)
        asked = {one.right for one in found if one.right}
        return found if not audit.unused(granted, asked, tuple(NOT_IN_THE_LOG)) else None

    try:
        found = machine_cluster.wait("the audit log to show every right in use", logged, 15)
    except ClusterError:
        found = _requests(machine_cluster, rights, namespace)
    asked = {one.right for one in found if one.right}
    assert [f"{one.path}: {one.code}" for one in found if not one.allowed or one.code in {401, 403}] == []
    assert audit.beyond(asked, granted) == []
    assert [one.path for one in found if one.right is None and not one.path.startswith(OF_EVERYBODY)] == []
    assert audit.unused(granted, asked, tuple(NOT_IN_THE_LOG)) == [], "a right that nothing uses is to be taken away"
    assert {right.anywhere() for right in granted} >= NOT_IN_THE_LOG.keys()


def _requests(cluster: Cluster, rights: Rights, namespace: str) -> list[audit.Request]:
    """Of this life: an operator that serves all also meets namespaces of earlier tests that are being deleted."""
    assert cluster.layout is not None
    with cluster.layout.audit.open(encoding="utf-8") as lines:
        found = list(audit.requests(lines, rights.account))
    return [one for one in found if "/namespaces/" not in one.path or f"/namespaces/{namespace}/" in one.path]


@pytest.mark.parametrize("rights", ["cluster"], indirect=True)
def test_server_side_apply_needs_the_right_to_create(machine_cluster: Cluster, namespace: str, rights: Rights) -> None:
    """What the log cannot show: without `create` the API server refuses the patch that would make an object."""
    [role] = [json.loads(json.dumps(one)) for one in rights.roles if one["kind"] == "ClusterRole"]
    for rule in role["rules"]:
        rule["verbs"] = [verb for verb in rule["verbs"] if verb != "create"]
    role["rules"] = [rule for rule in role["rules"] if rule["verbs"]]
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}, "data": {}}

    def make() -> None:
        apply = ("apply", "--server-side", "--validate=false", f"--as={rights.user}", "-f", "-")
        machine_cluster.kubectl("-n", namespace, *apply, stdin=json.dumps(manifest))

    make()
    machine_cluster.kubectl("-n", namespace, "delete", "configmap", "made")
    machine_cluster.apply(role)

    def refused() -> str | None:
        try:
            make()
        except ClusterError as error:
            return str(error)
        machine_cluster.kubectl("-n", namespace, "delete", "configmap", "made")
        return None

    assert "cannot create" in machine_cluster.wait("the refusal", refused)


def test_kubectl_says_what_each_mode_may_and_may_not(machine_cluster: Cluster, namespace: str, rights: Rights) -> None:
    """The table of docs/security.md is made of these answers."""
    found = answers(machine_cluster, rights, served=namespace, other="default")
    if folder := os.environ.get(RESULTS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{rights.mode}.json").write_text(json.dumps(found), encoding="utf-8")
    assert found == {question.text: question.expected(rights.mode) for question in QUESTIONS}
