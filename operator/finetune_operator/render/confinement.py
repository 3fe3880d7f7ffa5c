"""Containers beside the trainer's: as restricted as it is, unless they say otherwise and were allowed to."""

from __future__ import annotations

from finetune_operator.render.metadata import Manifest

LISTS = ("initContainers", "containers")


def confined(spec: Manifest) -> Manifest:
    """The pod's spec; a container that says nothing of it gains no privilege and has no capabilities."""
    return {key: [_of(one) for one in value] if key in LISTS else value for key, value in spec.items()}


def _of(container: Manifest) -> Manifest:
    """A program with the setuid bit would be root otherwise, whatever the pod's user."""
    said = container.get("securityContext") or {}
    if said.get("privileged") or (said.get("capabilities") or {}).get("add"):
        return container
    ours = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {**container, "securityContext": {**ours, **said}}
