"""The least that a kopf operator can do for a FineTuneJob: two creates and a status patch; `scale_burst` starts it.

    python -m benchmarks.scale_kopf CONFIGMAP.json PYTORCHJOB.json

No check, no plan, no look at what is there: a handler as in kopf's tutorial, with one shared client.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from pathlib import Path
from typing import Any

import kopf
from kubernetes.aio import client, config

Raw = dict[str, Any]


def registry(configmap: Raw, pytorchjob: Raw) -> kopf.OperatorRegistry:
    """One handler; the objects are copied from templates."""
    handlers = kopf.OperatorRegistry()
    apis: list[client.CustomObjectsApi | client.CoreV1Api] = []

    @kopf.on.startup(registry=handlers)
    async def start(**_: object) -> None:
        await config.load_kube_config()
        api = client.ApiClient()
        apis.extend((client.CoreV1Api(api), client.CustomObjectsApi(api)))

    @kopf.on.event("finetune.dev", "v1alpha1", "finetunejobs", registry=handlers, id="job")
    async def changed(event: kopf.RawEvent, body: kopf.Body, **_: object) -> None:
        if event["type"] == "DELETED" or body.status.get("observedGeneration") == body.metadata["generation"]:
            return
        core, custom = apis
        name, namespace = str(body.metadata.name), str(body.metadata.namespace)
        owner = {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "FineTuneJob",
            "name": name,
            "uid": body.metadata.uid,
            "controller": True,
        }
        await core.create_namespaced_config_map(namespace, _named(configmap, f"{name}-config", owner))
        kubeflow = ("kubeflow.org", "v1", namespace, "pytorchjobs")
        await custom.create_namespaced_custom_object(*kubeflow, _named(pytorchjob, f"{name}-1", owner))
        status = {"observedGeneration": body.metadata["generation"], "state": "Starting", "attempt": 1}
        await custom.patch_namespaced_custom_object_status(
            "finetune.dev",
            "v1alpha1",
            namespace,
            "finetunejobs",
            name,
            {"status": status},
            _content_type="application/merge-patch+json",
        )

    kopf.on.login(registry=handlers)(kopf.login_with_kubeconfig)
    return handlers


def _named(template: Raw, name: str, owner: Raw) -> Raw:
    made = copy.deepcopy(template)
    made["metadata"] = {"name": name, "ownerReferences": [owner]}
    return made


def main() -> None:
    """Serve until SIGTERM."""
    configmap, pytorchjob = (json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:])
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    asyncio.run(
        kopf.operator(
            registry=registry(configmap, pytorchjob),
            settings=settings,
            clusterwide=True,
            standalone=True,
            identity="bare",  # type: ignore[arg-type]  # a NewType of str that kopf keeps to itself
        )
    )


if __name__ == "__main__":
    main()
