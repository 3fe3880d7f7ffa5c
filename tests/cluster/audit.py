"""Pure: lines of the API server's audit log, and rules of roles, as what was asked for and what may be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True, kw_only=True, slots=True)
class Right:
    """A verb on a resource: what a rule grants, or what a request needs."""

    verb: str
    group: str
    resource: str
    """With its subresource: `finetunejobs/status`."""
    namespace: str | None = None
    """None: in all namespaces, or of none."""

    def __str__(self) -> str:
        """`patch finetunejobs.finetune.dev/status`, as kubectl writes it."""
        name, slash, part = self.resource.partition("/")
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {name}{f'.{self.group}' if self.group else ''}{slash}{part}{where}"

    def anywhere(self) -> Right:
        """The same without its namespace."""
        return Right(verb=self.verb, group=self.group, resource=self.resource)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request of an account, as it was answered."""

    right: Right | None
    """None: it was for a path that is no resource, e.g. /apis."""
    path: str
    code: int
    allowed: bool
    """By the authorizer; a request that it let through may be refused all the same, with 403 as well."""


def requests(lines: Iterable[str], account: str) -> Iterator[Request]:
    """What an account (`namespace:name`) asked for; a line that is cut off, as the last one may be, is left out."""
    user = f"system:serviceaccount:{account}"
    for line in lines:
        if user in line and (event := _event(line)) and event["user"]["username"] == user:
            yield _request(event)


def granted(role: Mapping[str, Any]) -> set[Right]:
    """Every right of a Role or ClusterRole, verb by verb; those of a Role in its namespace alone."""
    namespace = role["metadata"].get("namespace")
    return {
        Right(verb=verb, group=group, resource=resource, namespace=namespace)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def beyond(asked: Iterable[Right], rights: set[Right]) -> list[str]:
    """What was asked for and stands in no rule."""
    return sorted(str(right) for right in set(asked) if right not in rights and right.anywhere() not in rights)


def unused(rights: Iterable[Right], asked: Iterable[Right], reasons: Sequence[Right]) -> list[str]:
    """Rights that nobody used and that have no reason."""
    known = set(asked)
    used = known | {right.anywhere() for right in known}
    return sorted(str(right) for right in rights if right not in used and right.anywhere() not in reasons)


def _event(line: str) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event


def _request(event: Mapping[str, Any]) -> Request:
    about = event.get("objectRef")
    annotations = event.get("annotations") or {}
    return Request(
        right=_right(event["verb"], about) if about else None,
        path=event["requestURI"].partition("?")[0],
        code=int((event.get("responseStatus") or {}).get("code", 0)),
        allowed=annotations.get("authorization.k8s.io/decision") == "allow",
    )


def _right(verb: str, about: Mapping[str, str]) -> Right:
    part = f"/{about['subresource']}" if about.get("subresource") else ""
    return Right(
        verb=verb,
        group=about.get("apiGroup", ""),
        resource=f"{about['resource']}{part}",
        namespace=about.get("namespace"),
    )
