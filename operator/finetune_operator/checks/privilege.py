"""Host folders, privilege and other identities, of podTemplate or a network profile, unless the owner allows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from finetune_operator.checks import pod_fields
from finetune_operator.checks.overlay import PATH, containers, entries, keys, mapping, pod
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")


def no_host_path(job: FineTuneJob, _observed: Observed, settings: Settings) -> Iterable[Violation]:
    """No folder of the node, nor of a server that the namespace was not given."""
    if settings.allow_host_path:
        return
    for index, volume in enumerate(entries(pod(job).get("volumes"))):
        for kind in sorted(pod_fields.HOSTS_VOLUMES & volume.keys()):
            message = f"{kind} is not allowed here; use a claim (the operator's owner may set allow_host_path)"
            yield Violation(path=f"{PATH}.spec.volumes[{index}].{kind}", message=message)


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
        yield from _of_the_node(container, path)
    yield from _annotations(job)


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
        for kind in sorted({key for source in sources for key in source} & pod_fields.IDENTITIES):
            yield _privilege(f"{PATH}.spec.volumes[{index}].projected", f"an identity of the pod ({kind})")


def network_allowed(job: FineTuneJob, _observed: Observed, settings: Settings) -> Iterable[Violation]:
    """A network profile that takes privilege is for clusters whose owner allows it."""
    profile = settings.network_profiles.get(job.spec.network.profile or "")
    if profile is None or profile.privilege is None or settings.allow_privileged or job.spec.resources.nodes == 1:
        return
    yield _privilege("spec.network.profile", f"{job.spec.network.profile} takes {profile.privilege}, which")


def _of_the_node(container: Mapping[str, Any], path: str) -> Iterator[Violation]:
    """Ports of the node, mounts that reach it, and requests that its kubelet would make to somebody else."""
    for index, port in enumerate(entries(container.get("ports"))):
        if "hostPort" in port:
            yield _privilege(f"{path}.ports[{index}].hostPort", "hostPort")
    for index, mount in enumerate(entries(container.get("volumeMounts"))):
        if mount.get("mountPropagation") == "Bidirectional":
            yield _privilege(f"{path}.volumeMounts[{index}].mountPropagation", "Bidirectional")
    for where in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        for found, key, value in keys(container.get(where), f"{path}.{where}"):
            if key == "host" and value:
                yield _privilege(found, "a request of the node's kubelet to another host")


def _annotations(job: FineTuneJob) -> Iterator[Violation]:
    """What a runtime, or an older cluster, takes from annotations."""
    annotations = mapping(mapping(job.spec.pod_template.get("metadata")).get("annotations"))
    for key, value in annotations.items():
        path = f"{PATH}.metadata.annotations.{key}"
        if str(key).startswith(pod_fields.UNCONFINED) and value == "unconfined":
            yield _privilege(path, "unconfined")
        elif str(key).startswith(pod_fields.RUNTIMES_ANNOTATIONS):
            yield _privilege(path, "an annotation for the container's runtime")


def _security_context(owner: Mapping[str, Any], path: str) -> Iterator[Violation]:
    """What a pod's or a container's security context must not say."""
    context, where = mapping(owner.get("securityContext")), f"{path}.securityContext"
    for key, harmless in pod_fields.HARMLESS.items():
        if context.get(key) is not None and context[key] not in harmless:
            yield _privilege(f"{where}.{key}", f"{key}: {json.dumps(context[key], default=str)}")
    if context.get("runAsUser") == 0:
        yield _privilege(f"{where}.runAsUser", "root")
    for key in ("seccompProfile", "appArmorProfile"):
        if mapping(context.get(key)).get("type") == "Unconfined":
            yield _privilege(f"{where}.{key}", f"an unconfined {key}")
    for index, sysctl in enumerate(entries(context.get("sysctls"))):
        if sysctl.get("name") not in pod_fields.SAFE_SYSCTLS:
            yield _privilege(f"{where}.sysctls[{index}]", f"the sysctl {sysctl.get('name')}")
    if not _only_drops(mapping(context.get("capabilities"))):
        yield _privilege(f"{where}.capabilities", "added capabilities")


def _only_drops(capabilities: Mapping[str, Any]) -> bool:
    """Capabilities that add none and drop no fewer than ours, which are all."""
    return not capabilities.get("add") and capabilities.get("drop", ["ALL"]) == ["ALL"]


def _privilege(path: str, what: str) -> Violation:
    return Violation(path=path, message=f"{what} is not allowed here (the operator's owner may set allow_privileged)")
