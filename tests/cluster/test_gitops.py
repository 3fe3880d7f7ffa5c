"""What GitOps tools and `kubectl wait` say of a FineTuneJob in every state; `make gitops` keeps it."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import gitops
from tests.cluster.harness import binaries, layout
from tests.cluster.harness.waiting import ClusterError
from tests.cluster.session import Cluster
from tests.stories import states

pytestmark = pytest.mark.cluster

PAGE = layout.CHECKOUT / "docs" / "gitops.md"
KEPT = layout.CHECKOUT / "docs" / "gitops.json"
VARIABLE = "FINETUNE_GITOPS_RESULTS"
"""`make gitops` names a folder by it: what was found is to be kept, and no longer compared."""
ARGO = {"Current": {"Healthy", "Suspended"}, "InProgress": {"Progressing"}, "Failed": {"Degraded"}}
"""What Argo CD may say where kstatus says this."""
Answers = dict[str, Any]


@pytest.fixture(scope="module")
def built() -> layout.Layout:
    """The libraries' program is there; it is built from their modules once."""
    ours = layout.default()
    try:
        binaries.ensure(ours, print, (binaries.HEALTH,))
    except ClusterError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    return ours


@pytest.fixture(scope="module")
def manifests() -> dict[str, gitops.Body]:
    return {name: states.manifest(body) for name, body in states.bodies().items()}


@pytest.fixture(scope="module")
def answers(built: layout.Layout, objects: dict[str, gitops.Body], manifests: dict[str, gitops.Body]) -> Answers:
    return gitops.libraries(built, objects, manifests)


@pytest.fixture(scope="module")
def objects() -> dict[str, gitops.Body]:
    return gitops.recorded()


@pytest.fixture
def held(cluster: Cluster, namespace: str, no_operator: None, objects: dict[str, gitops.Body]) -> Iterator[str]:
    """A namespace in which the API server holds the recorded objects, and no operator writes them."""
    gitops.put(cluster, namespace, objects)
    yield namespace
    gitops.let_go(cluster, namespace)


def test_the_tools_say_what_the_page_says(answers: Answers) -> None:
    _as_kept("libraries", answers)


def test_the_tools_agree(answers: Answers) -> None:
    alive = {state: said for state, said in answers.items() if said["kstatus"]["status"] != "Terminating"}
    for state, said in alive.items():
        kstatus = said["kstatus"]["status"]
        assert said["flux"]["ready"]["status"] == kstatus, state
        assert said["argo"]["ready"]["status"] in ARGO[kstatus], state
    assert set(answers) - set(alive) == {"being-deleted"}


def test_argo_cd_sees_no_difference_from_git_in_any_state(
    built: layout.Layout, objects: dict[str, gitops.Body], manifests: dict[str, gitops.Body]
) -> None:
    without_settings = gitops.libraries(built, objects, manifests, ignore={})
    assert [state for state, said in without_settings.items() if not said["synced"]] == []


def test_a_job_that_was_suspended_by_hand_differs_unless_the_application_says_otherwise(
    built: layout.Layout, objects: dict[str, gitops.Body], manifests: dict[str, gitops.Body]
) -> None:
    live, in_git = {"suspended": objects["suspended"]}, copy.deepcopy(manifests)
    in_git["suspended"]["spec"]["runPolicy"]["suspend"] = False
    assert not gitops.libraries(built, live, in_git)["suspended"]["synced"]
    [said] = yaml.safe_load(PAGE.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0])["spec"][
        "ignoreDifferences"
    ]
    pointers = {"jsonPointers": said["jsonPointers"]}
    assert gitops.libraries(built, live, in_git, ignore=pointers)["suspended"]["synced"]


def test_a_job_that_waits_or_trains_holds_up_no_sync(answers: Answers) -> None:
    """A Kustomization with `wait: true`, or a sync wave, ends while the job is queued or suspended, or trains."""
    for state in ("preparing", "queued", "evicted", "starting", "training", "restarting", "suspending", "suspended"):
        assert answers[state]["kstatus"]["status"] == "Current", state


def test_kubectl_wait_on_a_real_api_server_says_what_the_page_says(
    cluster: Cluster, held: str, objects: dict[str, gitops.Body]
) -> None:
    real = gitops.held(cluster, held)
    assert set(real) == set(objects)
    for state, body in objects.items():
        assert (real[state]["spec"], real[state]["status"]) == (body["spec"], body["status"]), state
        assert real[state]["metadata"]["generation"] == body["metadata"]["generation"], state
        assert ("deletionTimestamp" in real[state]["metadata"]) == ("deletionTimestamp" in body["metadata"]), state
    _as_kept("kubectl", gitops.waits(cluster, held))


def _as_kept(part: str, found: Answers) -> None:
    """Compare with docs/gitops.json; `make gitops` takes what was found instead."""
    if folder := os.environ.get(VARIABLE):
        Path(folder, f"{part}.json").write_text(json.dumps(found), encoding="utf-8")
        return
    assert found == json.loads(KEPT.read_text(encoding="utf-8"))[part]
