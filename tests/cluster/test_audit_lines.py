"""The audit log's lines as requests, and roles as rights: without a cluster."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster import audit
from tests.cluster.audit import Right

OURS = "system:serviceaccount:system:operator"
ROLE = {
    "metadata": {"name": "r", "namespace": "team-a"},
    "rules": [
        {"apiGroups": ["finetune.dev"], "resources": ["finetunejobs/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    ],
}


def line(verb: str = "list", user: str = OURS, decision: str = "allow", code: int = 200, **about: str) -> str:
    event: dict[str, Any] = {
        "verb": verb,
        "user": {"username": user},
        "requestURI": "/api/v1/pods?watch=true",
        "responseStatus": {"code": code},
        "annotations": {"authorization.k8s.io/decision": decision},
    }
    return json.dumps(event | ({"objectRef": about} if about else {}))


def read(*lines: str) -> list[audit.Request]:
    return list(audit.requests(lines, "system:operator"))


def test_a_request_is_the_right_that_it_needs() -> None:
    [status] = read(
        line("patch", apiGroup="finetune.dev", resource="finetunejobs", subresource="status", namespace="team-a")
    )
    expected = Right(verb="patch", group="finetune.dev", resource="finetunejobs/status", namespace="team-a")
    assert (status.right, status.allowed, status.path) == (expected, True, "/api/v1/pods")
    assert str(expected) == "patch finetunejobs.finetune.dev/status in team-a"
    [discovery] = read(line("get"))
    assert discovery.right is None


def test_other_accounts_and_lines_that_are_cut_off_are_left_out() -> None:
    other = line(user=f"{OURS}-2", resource="pods")
    assert read(other, line(resource="pods")[:-20], "") == []


def test_a_refusal_is_seen() -> None:
    [refused] = read(line(decision="forbid", code=403, resource="secrets", namespace="team-a"))
    assert (refused.allowed, refused.code) == (False, 403)


def test_what_is_asked_for_beyond_the_role_is_named() -> None:
    rights = audit.granted(ROLE)
    here = Right(verb="list", group="", resource="pods", namespace="team-a")
    assert audit.beyond([here], rights) == []
    asked = [here, Right(verb="list", group="", resource="pods"), Right(verb="get", group="", resource="secrets")]
    assert audit.beyond(asked, rights) == ["get secrets", "list pods"], "not in all namespaces"
    everywhere = audit.granted({**ROLE, "metadata": {"name": "r"}})
    assert audit.beyond([here], everywhere) == []


def test_a_right_that_nobody_used_is_named_unless_there_is_a_reason() -> None:
    rights = audit.granted(ROLE)
    used = [Right(verb="list", group="", resource="pods", namespace="team-a")]
    assert audit.unused(rights, used, ()) == [
        "patch finetunejobs.finetune.dev/status in team-a",
        "watch pods in team-a",
    ]
    reason = Right(verb="watch", group="", resource="pods")
    assert audit.unused(rights, used, (reason,)) == ["patch finetunejobs.finetune.dev/status in team-a"]
