"""Host folders, privilege and other identities, of podTemplate or a network profile, unless the owner allows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from finetune_operator.checks.overlay import PATH, containers, entries, mapping, pod
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_HARMLESS: dict[str, tuple[object, ...]] = {
    "privileged": (False,),
    "allowPrivilegeEscalation": (False,),
    "runAsNonRoot": (True,),
    "procMount": ("Default",),
    "seLinuxOptions": (),
}
"""Field of a security context -> the values that take nothing from our own."""


def no_host_path(job: FineTuneJob, _observed: Observed, settings: Settings) -> Iterable[Violation]:
    """No folder of the node."""
    if settings.allow_host_path:
        return
    for index, volume in enumerate(entries(pod(job).get("volumes"))):
        if "hostPath" in volume:
            message = "hostPath is not allowed here; use a claim (the operator's owner may set allow_host_path)"
            yield Violation(path=f"{PATH}.spec.volumes[{index}].hostPath", message=message)


def no_privilege(job: FineTuneJob, _observed: Observed, settings: Settings) -> Iterable[Violation]:
    """No host namespaces, no privilege, no root, no further capabilities."""
    if settings.allow_privileged:
        return
    template = pod(job)
    for key in _HOST_NAMESPACES:
        if template.get(key, False) is not False:
            yield _privilege(f"{PATH}.spec.{key}", key)
    yield from _security_context(template, f"{PATH}.spec")
    for path, container in containers(job):
        yield from _security_context(container, path)
        for index, port in enumerate(entries(container.get("ports"))):
            if "hostPort" in port:
                yield _privilege(f"{path}.ports[{index}].hostPort", "hostPort")


def no_foreign_identity(job: FineTuneJob, _observed: Observed, settings: Settings) -> Iterable[Violation]:
    """No service account of somebody else's, and no token for the API server."""
    if settings.allow_privileged:
        return
    template = pod(job)
    for key in ("serviceAccountName", "serviceAccount"):
        if key in template:
            yield _privilege(f"{PATH}.spec.{key}", "another service account")
    if template.get("automountServiceAccountToken", False) is not False:
        yield _privilege(f"{PATH}.spec.automountServiceAccountToken", "a token for the API server")
    for index, volume in enumerate(entries(template.get("volumes"))):
        sources = entries(mapping(volume.get("projected")).get("sources"))
        if any("serviceAccountToken" in source for source in sources):
            yield _privilege(f"{PATH}.spec.volumes[{index}].projected", "a service account's token")


def network_allowed(job: FineTuneJob, _observed: Observed, settings: Settings) -> Iterable[Violation]:
    """A network profile that takes privilege is for clusters whose owner allows it."""
    profile = settings.network_profiles.get(job.spec.network.profile or "")
    if profile is None or profile.privilege is None or settings.allow_privileged or job.spec.resources.nodes == 1:
        return
    yield _privilege("spec.network.profile", f"{job.spec.network.profile} takes {profile.privilege}, which")


def _security_context(owner: Mapping[str, Any], path: str) -> Iterator[Violation]:
    """What a pod's or a container's security context must not say."""
    context, where = mapping(owner.get("securityContext")), f"{path}.securityContext"
    for key, harmless in _HARMLESS.items():
        if context.get(key) is not None and context[key] not in harmless:
            yield _privilege(f"{where}.{key}", f"{key}: {json.dumps(context[key], default=str)}")
    if context.get("runAsUser") == 0:
        yield _privilege(f"{where}.runAsUser", "root")
    for key in ("seccompProfile", "appArmorProfile"):
        if mapping(context.get(key)).get("type") == "Unconfined":
            yield _privilege(f"{where}.{key}", f"an unconfined {key}")
    if not _only_drops(mapping(context.get("capabilities"))):
        yield _privilege(f"{where}.capabilities", "added capabilities")


def _only_drops(capabilities: Mapping[str, Any]) -> bool:
    """Capabilities that add none and drop no fewer than ours, which are all."""
    return not capabilities.get("add") and capabilities.get("drop", ["ALL"]) == ["ALL"]


def _privilege(path: str, what: str) -> Violation:
    return Violation(path=path, message=f"{what} is not allowed here (the operator's owner may set allow_privileged)")
