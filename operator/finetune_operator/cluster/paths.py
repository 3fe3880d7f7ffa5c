"""Where each kind lives in the API: fixed, so that no discovery (nor its cache file) can be out of date."""

from __future__ import annotations

from finetune_operator import names
from finetune_operator.cluster.errors import NotFound

_PLURALS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Event": ("api/v1", "events"),
    "Job": ("apis/batch/v1", "jobs"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Pod": ("api/v1", "pods"),
    "PyTorchJob": (f"apis/{names.PYTORCHJOB_API_VERSION}", names.PYTORCHJOB_PLURAL),
    "Workload": (f"apis/{names.WORKLOAD_API_VERSION}", "workloads"),
    names.KIND: (f"apis/{names.API_VERSION}", names.PLURAL),
}

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path, not a secret


def of(kind: str, namespace: str | None, name: str | None = None) -> str:
    """Path of an object, or of the collection; without a namespace, of the collection in all namespaces.

    Raises:
        NotFound: no object can have such a name; `../../other/x` would be read with our rights somewhere else.
    """
    for word in (namespace, name):
        if word is not None and not names.is_name(word):
            raise NotFound(f"no {kind} can have the name {word!r}")
    prefix, plural = _PLURALS[kind]
    within = f"/namespaces/{namespace}" if namespace is not None else ""
    return f"/{prefix}{within}/{plural}" + (f"/{name}" if name is not None else "")


def of_pending(namespace: str, queue: str) -> str:
    """Path of what waits in a LocalQueue, with the places; Kueue's own API server answers."""
    return f"/apis/{names.PENDING_API_VERSION}/namespaces/{namespace}/localqueues/{queue}/pendingworkloads"


def words(method: str, path: str) -> tuple[str, str]:
    """(verb, resource) of a call, as RBAC and the API server's own metrics name them: `("patch", "pods/status")`."""
    within = path.partition("/namespaces/")[2]
    parts = within.split("/")[1:] if within else path.split("/")[-1:]
    verb = {"GET": "get" if len(parts) > 1 else "list", "POST": "create"}.get(method, method.lower())
    return verb, "/".join(parts[::2])
