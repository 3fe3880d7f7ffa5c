"""What is asked of Kueue, of whom, and what it means when Kueue is not there."""

from __future__ import annotations

from typing import Any

from finetune_operator import names
from finetune_operator.cluster import ClusterError, ClusterRefused, NotFound
from finetune_operator.cluster.queues import told
from finetune_operator.observe import RawChildren

WORKLOADS = "/apis/kueue.x-k8s.io/v1beta2/namespaces/team/workloads"
PENDING = "/apis/visibility.kueue.x-k8s.io/v1beta2/namespaces/team/localqueues/a/pendingworkloads"


def pytorchjob(*, queue: str | None, suspend: bool = True) -> dict[str, Any]:
    labels = {names.LABEL_QUEUE: queue} if queue else {}
    return {"metadata": {"uid": "u-1", "labels": labels}, "spec": {"runPolicy": {"suspend": suspend}}}


class Server:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, **answers: dict[str, Any] | ClusterError) -> None:
        self.answers = {WORKLOADS: answers["workloads"], PENDING: answers.get("pending", {"items": []})}
        self.asked: list[tuple[str, list[tuple[str, str]]]] = []

    async def __call__(self, _method: str, path: str, *, query: list[tuple[str, str]] | None = None) -> dict[str, Any]:
        self.asked.append((path, query or []))
        answer = self.answers[path]
        if isinstance(answer, ClusterError):
            raise answer
        return answer


async def test_a_job_without_a_queue_costs_no_call() -> None:
    server = Server(workloads={"items": None})
    children = RawChildren(pytorchjobs=(pytorchjob(queue=None),))
    assert await told(children, "team", server) == children
    assert server.asked == []


async def test_workloads_are_asked_for_by_the_pytorchjobs_uid_and_places_while_it_is_held() -> None:
    workload, place = {"metadata": {"name": "w"}}, {"metadata": {"name": "w"}, "positionInLocalQueue": 0}
    server = Server(workloads={"items": [workload]}, pending={"items": [place]})
    found = await told(RawChildren(pytorchjobs=(pytorchjob(queue="a"),)), "team", server)
    assert (found.workloads, found.pending, found.kueue_trouble) == ((workload,), (place,), "")
    assert server.asked == [(WORKLOADS, [("labelSelector", "kueue.x-k8s.io/job-uid in (u-1)")]), (PENDING, [])]
    server.asked.clear()
    await told(RawChildren(pytorchjobs=(pytorchjob(queue="a", suspend=False),)), "team", server)
    assert [path for path, _ in server.asked] == [WORKLOADS]


async def test_a_place_that_nobody_tells_is_no_trouble() -> None:
    server = Server(workloads={"items": [{"metadata": {"name": "w"}}]}, pending=ClusterError("no endpoints"))
    found = await told(RawChildren(pytorchjobs=(pytorchjob(queue="a"),)), "team", server)
    assert (len(found.workloads), found.pending, found.kueue_trouble) == (1, (), "")


async def test_without_kueue_or_rights_the_trouble_is_told_and_no_error() -> None:
    children = RawChildren(pytorchjobs=(pytorchjob(queue="a"),))
    missing = await told(children, "team", Server(workloads=NotFound("404")))
    assert missing.kueue_trouble.startswith("Kueue is not installed: ")
    forbidden = await told(children, "team", Server(workloads=ClusterRefused("workloads is forbidden")))
    assert forbidden.kueue_trouble == "workloads is forbidden"
