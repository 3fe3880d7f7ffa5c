"""Stories: long behaviours as steps. A step is a change of the world, passes until nothing changes, an expectation.

story = Story(job(nodes=2))
await story.then(nothing, state="Starting", pytorchjobs=["demo-1"])
await story.then(lambda world: world.run(), state="Running", PodsReady="True")
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.stories.fake_cluster import FakeCluster

from finetune_operator import names
from finetune_operator.cluster import ClusterError
from finetune_operator.intake import ProgressStore
from finetune_operator.names import Key
from finetune_operator.observe import Posted
from finetune_operator.reconcile import reconcile
from finetune_operator.settings import Settings
from finetune_trainer.records import Outcome, Progress, Result

Change = Callable[[FakeCluster], object]
KEY = Key("default", "demo")
MOST_PASSES = 10
"""A job whose plan does not come to rest in so many passes goes round in circles."""


def nothing(_world: FakeCluster) -> None:
    """The change of a step in which only passes run."""


def job(name: str = KEY.name, *, nodes: int = 1, **spec: Any) -> dict[str, Any]:
    """A valid manifest; `spec` adds to it or replaces parts of it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": KEY.namespace},
        "spec": {
            "model": {"uri": "/models/tiny"},
            "training": {
                "stage": "sft",
                "finetuning_type": "lora",
                "template": "default",
                "dataset": "identity",
                "output_dir": "out",
                "do_train": True,
            },
            "resources": {"nodes": nodes},
            "storage": {"output": {"claimName": "runs"}},
            **spec,
        },
    }


def claim(name: str = "runs", modes: tuple[str, ...] = ("ReadWriteMany",)) -> dict[str, Any]:
    """A bound PersistentVolumeClaim."""
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": KEY.namespace},
        "spec": {"accessModes": list(modes)},
        "status": {"phase": "Bound", "accessModes": list(modes)},
    }


class Story:
    """One job in a fake cluster, from its creation on."""

    def __init__(self, manifest: dict[str, Any], settings: Settings | None = None) -> None:
        self.world = FakeCluster()
        self.world.put(claim())
        self.world.put(manifest)
        self.key = Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        self.settings = settings or Settings()
        self.progress = ProgressStore()
        self.requeue_after: float | None = None
        self.errors: list[ClusterError] = []

    async def then(self, change: Change, **expected: object) -> None:
        """Change the world, run passes until they change nothing, compare.

        Keys of `expected`: `state`, or any other key of status; a condition's type, with its status or
        `status/reason`; `jobs`, `pytorchjobs`, `pods`, `configmaps`: names of what is there.
        """
        change(self.world)
        await self.rest()
        seen = {key: self._look(key, value) for key, value in expected.items()}
        assert seen == expected, f"after {self.world.log[-8:]}: status {self.status}"

    async def rest(self) -> None:
        """Passes until one changes nothing and none is due at once."""
        for _ in range(MOST_PASSES):
            before = copy.deepcopy(self.world.objects)
            await self.one_pass()
            if self.world.objects == before and self.requeue_after != 0:
                return
        raise AssertionError(f"the plan does not come to rest: {self.world.log[-12:]}")

    async def one_pass(self) -> None:
        """A single pass; an error of the cluster is kept, the queue would try again."""
        try:
            self.requeue_after = await reconcile(self.key, self.world, self.settings, self.progress, self.world.now)
        except ClusterError as error:
            self.errors.append(error)
            self.requeue_after = None

    @property
    def body(self) -> dict[str, Any]:
        """The FineTuneJob as it is now."""
        return self.world.objects[names.KIND, self.key.namespace, self.key.name]

    @property
    def status(self) -> dict[str, Any]:
        """Its status; empty before the first pass."""
        found: dict[str, Any] = self.body.get("status", {})
        return found

    def edit(self, **run_policy: object) -> Change:
        """The change in which the user edits spec.runPolicy."""
        return self.lay_over(runPolicy=run_policy)

    def lay_over(self, **spec: Any) -> Change:
        """The change in which the user applies the manifest with these parts of the spec laid over it."""

        def change(world: FakeCluster) -> None:
            body = copy.deepcopy(self.body)
            for name, value in spec.items():
                known = body["spec"].get(name)
                body["spec"][name] = {**known, **value} if isinstance(known, dict) else value
            world.put(body)

        return change

    def post(self, attempt: int, progress: Progress) -> None:
        """The intake accepted a post."""
        self.progress.put(self.key, Posted(job_uid=self.body["metadata"]["uid"], attempt=attempt, progress=progress))

    def outcome(self, result: Result, reason: str, *, attempt: int, node_rank: int = 0, **more: Any) -> Outcome:
        """A supervisor's record that carries the frozen spec's hash."""
        config = self.world.objects["ConfigMap", self.key.namespace, names.config_name(self.key.name)]
        return Outcome(
            result=result,
            reason=reason,
            message=more.pop("message", reason),
            retryable=more.pop("retryable", True),
            attempt=attempt,
            node_rank=node_rank,
            spec_hash=config["metadata"]["annotations"][names.ANNOTATION_SPEC_HASH],
            **more,
        )

    def _look(self, key: str, like: object) -> object:
        """What the world says about one key of an expectation."""
        kinds = {"pytorchjobs": "PyTorchJob", "pods": "Pod", "configmaps": "ConfigMap", "jobs": "Job"}
        if key in kinds:
            return self.world.named(kinds[key])
        for condition in self.status.get("conditions", []):
            if condition["type"] == key:
                told: str = condition["status"]
                return f"{told}/{condition['reason']}" if "/" in str(like) else told
        return self.status.get(key)
