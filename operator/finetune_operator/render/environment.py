"""The trainer container's environment: what we suggest, what the fabric and the user say, what the contract fixes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from finetune_operator.plan import RunPlan
from finetune_operator.render.metadata import Manifest
from finetune_operator.render.volumes import TOKEN_FILE
from finetune_trainer.records import (
    ENV_ATTEMPT,
    ENV_CA_FILE,
    ENV_CONFIG_DIR,
    ENV_NODES,
    ENV_POLICY,
    ENV_RUN_DIR,
    ENV_TOKEN_FILE,
    INTAKE_CA_FILE,
)

LARGE = ("k", "i", "M", "G", "T", "P", "E")
"""Ends of a quantity that no machine has CPUs for."""


def of(plan: RunPlan) -> list[Manifest]:
    """Entries by name, each once (the API server refuses a name twice). The later speaker wins, and moves to the end.

    The order matters: `$(NAME)` in a value sees only what stands before it.
    """
    speakers = (_values(_suggested(plan)), _values(plan.network.env), plan.job.spec.env, _values(_contract(plan)))
    merged: dict[str, Manifest] = {}
    for entry in (entry for speaker in speakers for entry in speaker):
        merged.pop(entry["name"], None)
        merged[entry["name"]] = dict(entry)
    return list(merged.values())


def sources(plan: RunPlan) -> list[Manifest]:
    """envFrom: the model's Secret, whose keys (HF_TOKEN, AWS_ACCESS_KEY_ID ...) become variables."""
    model = plan.job.spec.model
    return [{"secretRef": {"name": model.secret_ref.name}}] if model and model.secret_ref else []


def _values(variables: Mapping[str, str]) -> Iterable[Manifest]:
    return ({"name": name, "value": value} for name, value in variables.items())


def _suggested(plan: RunPlan) -> dict[str, str]:
    """What suits most runs; the network profile and the user may say otherwise."""
    resources = plan.job.spec.resources
    suggested = {
        "HOME": "/tmp",  # noqa: S108 - the user of the pod has no home in the image
        "DISABLE_KUBEFLOW_INTEGRATION": "TRUE",  # transformers' own callback would post beside our supervisor
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    }
    suggested |= _caches(plan)
    if resources.cpu is not None and not resources.cpu.endswith(LARGE):
        suggested["OMP_NUM_THREADS"] = str(_threads(resources.cpu, plan.run.processes_per_node))
    if resources.gpus_per_node > 0:
        suggested["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    return suggested


def _caches(plan: RunPlan) -> dict[str, str]:
    """What is fetched goes to the cache; tokens to a folder that outlives the pods, where the job has one."""
    claims = {mount.path: mount.claim for mount in plan.mounts}
    found = {"HF_HOME": f"{plan.paths.cache}/huggingface"} if plan.paths.cache in claims else {}
    if claims.get(plan.paths.cache) is None and claims.get(plan.paths.output) is not None:
        found["HF_DATASETS_CACHE"] = f"{plan.paths.output}/{plan.job.namespace}/{plan.job.name}/.data"
    return found


def _contract(plan: RunPlan) -> dict[str, str]:
    """What supervisor and ranks rely on (`finetune_trainer.records`): nobody else's to change."""
    fixed = {
        ENV_CONFIG_DIR: plan.paths.config,
        ENV_ATTEMPT: str(plan.attempt),
        ENV_NODES: str(plan.run.nodes),
        ENV_POLICY: plan.run.policy(),
        ENV_RUN_DIR: plan.paths.run,
    }
    if plan.run.progress_url is not None:
        fixed[ENV_TOKEN_FILE] = TOKEN_FILE
    if plan.intake_ca is not None:
        fixed[ENV_CA_FILE] = f"{plan.paths.config}/{INTAKE_CA_FILE}"
    return fixed


def _threads(cpu: str, processes: int) -> int:
    """Threads of each rank: its share of the pod's CPUs (a quantity: 8, 0.5, 7500m), at least 1."""
    cores = Decimal(cpu[:-1]) / 1000 if cpu.endswith("m") else Decimal(cpu)
    return max(1, int(cores / processes))
