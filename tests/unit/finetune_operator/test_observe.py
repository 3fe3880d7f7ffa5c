"""Raw children, as an API server gives them -> Observed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator import names, observe
from finetune_operator.observe import Frozen, ObservedAttempt, ObservedPod, Posted, RawChildren
from finetune_trainer.records import Outcome, Progress

Raw = dict[str, Any]
UID = "uid-of-the-job"
OUTCOME = Outcome(
    result="failed",
    reason="CudaError",
    message="device lost",
    retryable=True,
    attempt=1,
    node_rank=1,
    spec_hash="abc",
    rank=9,
    step=7,
)


def metadata(name: str, *, attempt: int | None = 1, owner: str = UID, **more: Any) -> Raw:
    labels = {names.LABEL_JOB: "demo"} | ({names.LABEL_ATTEMPT: str(attempt)} if attempt else {})
    return {"name": name, "uid": f"uid-of-{name}", "labels": labels, "ownerReferences": [{"uid": owner}], **more}


def pytorchjob(name: str = "demo-1", *, attempt: int = 1, owner: str = UID, **more: Any) -> Raw:
    created = {"creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata(name, attempt=attempt, owner=owner, **created), "spec": {}, **more}


def pod(
    status: Raw | None = None, *, role: str = "worker", index: int = 0, owner: str = "uid-of-demo-1", **more: Any
) -> Raw:
    raw = {"metadata": metadata(f"demo-1-{role}-{index}", owner=owner, **more), "spec": {"nodeName": "node-a"}}
    raw["metadata"]["labels"] |= {names.TRAINING_TYPE_LABEL: role, names.TRAINING_INDEX_LABEL: str(index)}
    return {**raw, "status": {"phase": "Pending", **(status or {})}}


def ended(message: str = "", *, code: int = 1, reason: str = "Error", started: str = "2026-01-01T00:01:00Z") -> Raw:
    state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": started, "message": message}}
    return {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"name": "pytorch", "state": state}]}


def the_attempt(children: RawChildren) -> ObservedAttempt:
    (attempt,) = observe.of(children, uid=UID).attempts
    return attempt


def the_pod(raw: Raw) -> ObservedPod:
    (found,) = the_attempt(RawChildren(pytorchjobs=(pytorchjob(),), pods=(raw,))).pods
    return found


def test_nothing_there_is_nothing_observed() -> None:
    assert observe.of(RawChildren(), uid=UID) == observe.Observed()


def test_a_running_pod() -> None:
    running = {"state": {"running": {"startedAt": "2026-01-01T00:01:00Z"}}, "imageID": "docker.io/lib/ft@sha256:12"}
    seen = the_pod(
        pod({"phase": "Running", "containerStatuses": [{"name": "sidecar"}, {"name": "pytorch", **running}]})
    )
    assert (seen.node_rank, seen.node, seen.phase, seen.running) == (1, "node-a", "Running", True)
    assert seen.started == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert seen.image_digest == "docker.io/lib/ft@sha256:12"
    assert (seen.waiting, seen.terminated, seen.exit_code, seen.disruption) == (None, None, None, None)


def test_the_master_is_rank_0_and_pods_come_by_rank() -> None:
    pods = (pod(index=1), pod(index=0), pod(role="master"))
    seen = the_attempt(RawChildren(pytorchjobs=(pytorchjob(),), pods=pods)).pods
    assert [(one.node_rank, one.name) for one in seen] == [
        (0, "demo-1-master-0"),
        (1, "demo-1-worker-0"),
        (2, "demo-1-worker-1"),
    ]


def test_the_supervisors_record_is_read_from_the_termination_message() -> None:
    seen = the_pod(pod(ended(OUTCOME.to_termination_message())))
    assert (seen.outcome, seen.message, seen.exit_code, seen.terminated) == (OUTCOME, "", 1, "Error")


@pytest.mark.parametrize(
    "message",
    [
        "Traceback ...\nKeyError: 'x'",
        "{}",
        '{"result": "failed"}',
        "[1]",
        OUTCOME.to_json().replace('"failed"', '"odd"'),
    ],
)
def test_any_other_termination_message_is_told_as_it_is(message: str) -> None:
    seen = the_pod(pod(ended(message)))
    assert (seen.outcome, seen.message) == (None, message)


def test_a_container_that_never_started_has_no_start() -> None:
    seen = the_pod(pod(ended("no such file: finetune", code=128, reason="StartError", started="1970-01-01T00:00:00Z")))
    assert (seen.started, seen.terminated, seen.exit_code) == (None, "StartError", 128)


def test_an_evicted_pod_says_so_though_its_container_left_no_word() -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
    status = {"phase": "Failed", "reason": "Evicted", "message": "low on memory", "conditions": [target]}
    seen = the_pod(pod(status))
    assert (seen.terminated, seen.message) == ("Evicted", "low on memory")
    assert seen.disruption == "EvictionByEvictionAPI: drained"


def test_a_disruption_that_is_over_is_none() -> None:
    target = {"type": "DisruptionTarget", "status": "False", "reason": "PreemptionByScheduler"}
    assert the_pod(pod({"conditions": [target]})).disruption is None


def test_a_failed_init_container_is_no_end_of_the_trainer() -> None:
    init = {"name": "init-pytorch", "state": {"terminated": {"exitCode": 1, "message": "no such host\n"}}}
    waiting = {"name": "pytorch", "state": {"waiting": {"reason": "PodInitializing"}}}
    seen = the_pod(pod({"phase": "Failed", "initContainerStatuses": [init], "containerStatuses": [waiting]}))
    assert (seen.terminated, seen.started, seen.outcome) == (None, None, None)
    assert seen.message == "init container init-pytorch ended with exit code 1: no such host"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
                ]
            },
            "Unschedulable: 0/2 nodes",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "pytorch", "state": {"waiting": {"reason": "ErrImagePull", "message": "x"}}}
                ]
            },
            "ErrImagePull: x",
        ),
        (
            {
                "initContainerStatuses": [
                    {"name": "init-pytorch", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "alpine"}}}
                ],
                "containerStatuses": [{"name": "pytorch", "state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            "ImagePullBackOff: alpine",
        ),
        (
            {
                "initContainerStatuses": [{"name": "init-pytorch", "state": {"running": {}}}],
                "containerStatuses": [
                    {"name": "pytorch", "state": {"waiting": {"reason": "PodInitializing"}}},
                    {
                        "name": "sidecar",
                        "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}},
                    },
                ],
            },
            "CreateContainerConfigError: no secret",
        ),
        (
            {"containerStatuses": [{"name": "pytorch", "state": {"waiting": {"reason": "ContainerCreating"}}}]},
            "ContainerCreating",
        ),
        ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, "Scheduled: node-a has not started it"),
        ({}, None),
    ],
)
def test_what_a_pending_pod_waits_for(status: Raw, words: str | None) -> None:
    assert the_pod(pod(status)).waiting == words


@pytest.mark.parametrize(
    ("true", "phase"),
    [
        ([], ""),
        (["Created"], "Created"),
        (["Created", "Running"], "Running"),
        (["Created", "Running", "Succeeded"], "Succeeded"),
        (["Failed", "Created", "Running"], "Failed"),
    ],
)
def test_the_condition_that_counts(true: list[str], phase: str) -> None:
    conditions = [{"type": kind, "status": "True", "message": f"it is {kind}"} for kind in true]
    conditions.append({"type": "Suspended", "status": "False", "message": "resumed"})
    attempt = the_attempt(RawChildren(pytorchjobs=(pytorchjob(status={"conditions": conditions}),)))
    assert (attempt.phase, attempt.message) == (phase, f"it is {phase}" if phase else "")


def test_a_suspended_pytorchjob_waits_in_a_queue() -> None:
    attempt = the_attempt(RawChildren(pytorchjobs=(pytorchjob(spec={"runPolicy": {"suspend": True}}),)))
    assert (attempt.exists, attempt.suspended, attempt.started) == (True, True, None)


def test_an_attempt_whose_pytorchjob_was_never_made_is_still_an_attempt() -> None:
    attempt = the_attempt(RawChildren(configmaps=({"metadata": metadata("demo-1")},)))
    assert (attempt.number, attempt.exists, attempt.leftovers) == (1, False, (("ConfigMap", "demo-1"),))


def test_leftovers_name_everything_of_the_attempt_and_nothing_that_is_shared() -> None:
    children = RawChildren(
        configmaps=({"metadata": metadata("demo-config", attempt=None)}, {"metadata": metadata("demo-1")}),
        pytorchjobs=(pytorchjob(),),
        pods=(pod(role="master"),),
    )
    assert the_attempt(children).leftovers == (
        ("PyTorchJob", "demo-1"),
        ("Pod", "demo-1-master-0"),
        ("ConfigMap", "demo-1"),
    )


def test_attempts_come_by_number_not_by_name() -> None:
    jobs = tuple(pytorchjob(f"demo-{number}", attempt=number) for number in (10, 9, 2))
    assert [attempt.number for attempt in observe.of(RawChildren(pytorchjobs=jobs), uid=UID).attempts] == [2, 9, 10]


def test_children_of_an_earlier_job_of_the_same_name_are_foreign() -> None:
    frozen = {names.ANNOTATION_SPEC_HASH: "old", names.ANNOTATION_CONTRACT: "1", names.ANNOTATION_IMAGE: "old:1"}
    children = RawChildren(
        configmaps=({"metadata": metadata("demo-config", attempt=None, owner="old", annotations=frozen)},),
        pytorchjobs=(pytorchjob(owner="old"),),
        pods=(pod(role="master"),),
    )
    observed = observe.of(children, uid=UID)
    assert (observed.attempts, observed.frozen) == ((), None)
    assert observed.foreign == (("PyTorchJob", "demo-1"), ("Pod", "demo-1-master-0"), ("ConfigMap", "demo-config"))


def test_a_pod_that_outlives_its_pytorchjob_is_known_by_the_label_of_the_jobs_uid() -> None:
    left = pod(role="master", owner="uid-of-a-deleted-pytorchjob", deletionTimestamp="2026-01-01T01:00:00Z")
    left["metadata"]["labels"][names.LABEL_UID] = UID
    attempt = the_attempt(RawChildren(pods=(left,)))
    assert (attempt.exists, [one.deleting for one in attempt.pods]) == (False, [True])
    assert [one.gone_by for one in attempt.pods] == [datetime(2026, 1, 1, 1, tzinfo=UTC)]


def test_what_attempt_1_froze() -> None:
    annotations = {names.ANNOTATION_SPEC_HASH: "abc", names.ANNOTATION_CONTRACT: "1", names.ANNOTATION_IMAGE: "ft:1"}
    annotations |= {names.ANNOTATION_NODES: "2"}
    config = {"metadata": metadata("demo-config", attempt=None, annotations=annotations)}
    observed = observe.of(RawChildren(configmaps=(config,)), uid=UID)
    assert observed.frozen == Frozen(spec_hash="abc", contract=1, image="ft:1", nodes=2)
    assert observed.attempts == ()


def test_claims_that_are_there_and_that_are_not() -> None:
    bound = {"spec": {"accessModes": ["ReadWriteMany"]}, "status": {"accessModes": ["ReadWriteOnce"]}}
    pending = {"spec": {"accessModes": ["ReadWriteMany"]}, "status": {"phase": "Pending"}}
    claims = observe.of(RawChildren(claims={"a": bound, "b": pending, "c": None}), uid=UID).claims
    assert {name: (one.found, one.access_modes) for name, one in claims.items()} == {
        "a": (True, ("ReadWriteOnce",)),
        "b": (True, ("ReadWriteMany",)),
        "c": (False, ()),
    }


@pytest.mark.parametrize("is_frozen", [False, True])
def test_the_preparations_posts_count_until_a_job_has_started(is_frozen: bool) -> None:
    annotations = {names.ANNOTATION_SPEC_HASH: "abc", names.ANNOTATION_CONTRACT: "1", names.ANNOTATION_IMAGE: "ft:1"}
    frozen = {**annotations, names.ANNOTATION_NODES: "1"}
    config = {"metadata": {"name": "demo-config", "annotations": frozen, "ownerReferences": [{"uid": UID}]}}
    children = RawChildren(configmaps=(config,) if is_frozen else ())
    posted = Posted(job_uid=UID, attempt=0, progress=Progress(time=1.0, phase="fetching"))
    seen = observe.of(children, uid=UID, posted=posted).progress
    assert seen == (None if is_frozen else posted.progress)


@pytest.mark.parametrize(
    ("job_uid", "attempt", "is_shown"), [(UID, 2, True), (UID, 1, False), ("uid-of-an-earlier-job", 2, False)]
)
def test_only_posts_of_the_newest_attempt_of_this_very_job_count(job_uid: str, attempt: int, is_shown: bool) -> None:
    progress = Progress(time=1.0, phase="training", step=3)
    children = RawChildren(pytorchjobs=(pytorchjob(), pytorchjob("demo-2", attempt=2)))
    posted = Posted(job_uid=job_uid, attempt=attempt, progress=progress)
    assert observe.of(children, uid=UID, posted=posted).progress == (progress if is_shown else None)
