"""What the watches and our own writes have shown: never without what we made, never older than it was."""

from __future__ import annotations

from typing import Any

from finetune_operator import names
from finetune_operator.cluster.view import Listed, View
from finetune_operator.observe import RawChildren

PLACE = ("team", "job")


def child(name: str, version: int, *, job: str = "job", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team", "resourceVersion": str(version), "labels": {names.LABEL_JOB: job}}
    return {"metadata": metadata, **more}


def pods(view: View) -> dict[str, str]:
    """Name -> version of what is known of pods."""
    known = view.of(PLACE)
    assert known is not None
    return {raw["metadata"]["name"]: raw["metadata"]["resourceVersion"] for raw in known["Pod"]}


def compare(view: View, kind: str, *there: dict[str, Any], version: str = "100") -> None:
    listed = Listed(kind, "team")
    listed.add([raw["metadata"] for raw in there])
    view.compare(listed, version)


def test_until_all_children_were_listed_everything_is_read() -> None:
    view = View()
    assert view.of(PLACE) is None
    assert view.put("Pod", child("a", 5))
    assert view.of(PLACE) is None
    compare(view, "Pod", child("x", 3, job="other"))
    view.complete()
    assert view.of(PLACE) is None, "a child was seen, and others may have been missed"
    assert view.of(("team", "other")) is None
    assert view.is_new(("team", "new"))
    assert view.of(("team", "new")) == {"ConfigMap": (), "Job": (), "PyTorchJob": (), "Pod": ()}


def test_a_new_job_is_followed_from_its_first_child_on() -> None:
    view = View()
    view.complete()
    assert view.put("Pod", child("a", 5))
    assert pods(view) == {"a": "5"}
    assert not view.is_new(PLACE)


def test_an_object_only_gets_newer_and_what_is_known_is_no_news() -> None:
    view = View()
    view.replace(PLACE, RawChildren(pods=(child("a", 5),)), since=view.moment)
    assert not view.put("Pod", child("a", 5)), "the echo of what was written or read"
    assert not view.put("Pod", child("a", 4))
    assert view.put("Pod", child("a", 6))
    assert pods(view) == {"a": "6"}
    assert view.put("Pod", child("a", 7), gone=True)
    assert pods(view) == {}


def test_a_live_read_says_what_is_gone() -> None:
    view = View()
    view.replace(PLACE, RawChildren(pods=(child("a", 5), child("b", 6))), since=view.moment)
    view.replace(PLACE, RawChildren(pods=(child("b", 6),)), since=view.moment)
    assert pods(view) == {"b": "6"}


def test_a_job_of_a_name_that_had_children_is_read_live_again() -> None:
    view = View()
    view.complete()
    view.put("Pod", child("a", 5))
    view.forget(PLACE)
    assert view.of(PLACE) is None
    assert not view.is_new(PLACE)


def test_what_nobody_reads_is_not_kept() -> None:
    view = View()
    view.complete()
    replicas = {"Worker": {"replicas": 3, "template": {"spec": {}}}}
    raw = child(
        "x-1", 5, spec={"runPolicy": {"suspend": True}, "pytorchReplicaSpecs": replicas}, status={"startTime": "t"}
    )
    raw["metadata"]["managedFields"] = [{}]
    view.put("PyTorchJob", raw)
    [kept] = (view.of(PLACE) or {})["PyTorchJob"]
    assert kept["spec"] == {"runPolicy": {"suspend": True}, "pytorchReplicaSpecs": {"Worker": {"replicas": 3}}}
    assert kept["status"] == {"startTime": "t"}
    assert "managedFields" not in kept["metadata"]


def test_what_is_shown_during_a_live_read_has_it_read_again() -> None:
    view = View()
    since = view.moment
    view.put("Pod", child("a", 7))
    view.replace(PLACE, RawChildren(pods=(child("a", 5),)), since=since)
    assert view.of(PLACE) is None
    view.replace(PLACE, RawChildren(pods=(child("a", 7),)), since=view.moment)
    assert pods(view) == {"a": "7"}


def test_what_was_there_when_a_watch_began_is_news_only_of_a_job_that_is_followed() -> None:
    view = View()
    assert not view.put("Pod", child("a", 5), listed=True)
    view.replace(PLACE, RawChildren(pods=(child("a", 5),)), since=view.moment)
    assert not view.put("Pod", child("a", 5), listed=True)
    assert view.put("Pod", child("a", 6), listed=True)


def test_what_an_event_that_was_lost_told_has_the_job_read_again() -> None:
    for there in ([child("a", 6)], [child("a", 5), child("b", 7)], []):
        view = View()
        view.replace(PLACE, RawChildren(pods=(child("a", 5),)), since=view.moment)
        compare(view, "Pod", child("a", 5))
        compare(view, "Job")
        assert pods(view) == {"a": "5"}, "nothing was lost"
        compare(view, "Pod", *there)
        assert view.of(PLACE) is None


def test_what_is_newer_in_the_view_than_in_a_list_is_no_loss() -> None:
    view = View()
    view.replace(PLACE, RawChildren(pods=(child("a", 101), child("b", 102))), since=view.moment)
    compare(view, "Pod", child("a", 90), version="100")
    assert pods(view) == {"a": "101", "b": "102"}


def test_a_job_whose_first_child_no_watch_has_shown_is_not_new() -> None:
    view = View()
    view.complete()
    assert view.is_new(PLACE)
    assert view.is_idle
    compare(view, "Pod", child("a", 5))
    assert not view.is_new(PLACE)


def test_the_end_of_an_older_object_of_the_same_name_is_no_end_of_the_newer() -> None:
    view = View()
    view.replace(PLACE, RawChildren(pods=(child("a", 9),)), since=view.moment)
    assert not view.put("Pod", child("a", 5), gone=True)
    assert pods(view) == {"a": "9"}
