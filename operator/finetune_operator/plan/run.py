"""One attempt, ready to be rendered: names, mounts, train.yaml, ds.json, run.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from finetune_operator import names
from finetune_operator.network_profiles import NetworkProfile
from finetune_operator.observe import Frozen
from finetune_operator.plan.source import source_of
from finetune_operator.settings import Settings
from finetune_operator.spec import DATASET_SCHEMES, MODEL_SCHEMES, FineTuneJob, Location, claims, parse_location
from finetune_operator.spec.pods import Claim
from finetune_trainer import config
from finetune_trainer.deepspeed import resolve
from finetune_trainer.records import CONFIG_DIR, CONTRACT_VERSION, DEEPSPEED_FILE, Preparation, RunSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """Where things lie for the trainer: in a pod, or on this machine for `finetune run`."""

    config: str = CONFIG_DIR
    output: str = "/output"
    cache: str = "/models"
    claims: str = "/claims"
    run: str = "/run/finetune"


PODS = Paths()
OWN_MODEL = "model"
"""Link in a pod's own cache to the model that it has fetched for itself."""
_NO_BLAME = frozenset({"PodDeleted", "PodReplaced", "Stopped"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A claim's folder at a path in the pod; without a claim, a folder that goes with the pod (emptyDir)."""

    volume: str
    claim: str | None
    path: str
    sub_path: str | None = None
    read_only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """One attempt, ready to be rendered: `render` decides nothing any more."""

    job: FineTuneJob
    attempt: int
    name: str
    """Of the PyTorchJob: `names.attempt_name`."""
    config_name: str
    freeze: bool
    """Nothing is frozen yet: the config ConfigMap is to be applied. Later attempts use it as it is."""
    image: str
    train: Mapping[str, Any]
    """train.yaml, after the ownership rules."""
    deepspeed: Mapping[str, Any] | None
    """ds.json."""
    dataset_info: Mapping[str, Any] | None
    """dataset_info.json for spec.datasets; None where training.dataset and dataset_dir stand."""
    run: RunSpec
    """run.json."""
    mounts: tuple[Mount, ...]
    fetch: str | None = None
    """A model that each pod fetches for itself, having no cache to share."""
    paths: Paths = PODS
    network: NetworkProfile = field(default_factory=NetworkProfile)
    run_as_user: int = 1000
    avoided_nodes: tuple[str, ...] = ()
    """Names of nodes that the pods must not get."""
    suspended: bool = False
    """Created suspended, for a queue to admit."""
    intake_ca: str | None = None
    """Certificates (PEM) by which the pods know the intake; None: those of their image, or it speaks HTTP."""


def run_plan(  # noqa: PLR0913 - all but three are keywords that few callers need
    job: FineTuneJob,
    attempt: int,
    settings: Settings,
    *,
    frozen: Frozen | None = None,
    prepared: Preparation | None = None,
    paths: Paths = PODS,
) -> RunPlan:
    """Attempt `attempt` of a job, from the job and what was prepared; what attempt 1 froze wins over all."""
    spec = job.spec
    network = network_of(job, settings)
    ds = resolve(job.training, world_size=spec.world_size)
    return RunPlan(
        job=job,
        attempt=attempt,
        name=names.attempt_name(job.name, attempt),
        config_name=names.config_name(job.name),
        freeze=frozen is None,
        image=frozen.image if frozen else image(job, settings),
        train=train_file(job, paths, prepared, has_deepspeed=ds is not None),
        deepspeed=ds,
        dataset_info=dataset_info(job, paths),
        run=run_spec(job, settings, paths, network, data_prepared=prepared is not None and prepared.data),
        mounts=mounts(job, paths),
        fetch=own_source(job),
        paths=paths,
        network=network,
        run_as_user=settings.run_as_user,
        avoided_nodes=avoided_nodes(job),
        suspended=spec.scheduling.queue is not None,
        intake_ca=settings.intake_ca if settings.intake_url else None,
    )


def network_of(job: FineTuneJob, settings: Settings) -> NetworkProfile:
    """The job's profile; one node has no network between nodes, and may lack the devices."""
    named = settings.network_profiles.get(job.spec.network.profile or "")
    return named if named is not None and job.spec.resources.nodes > 1 else NetworkProfile()


def avoided_nodes(job: FineTuneJob) -> tuple[str, ...]:
    """Nodes that a failure was blamed on which another attempt may mend; each once, by name.

    A drained or preempted node did not fail, and who deletes a pod does not blame its node.
    """
    if not job.spec.run_policy.avoid_failed_nodes:
        return ()
    failures = [one for one in job.recorded.attempts if one.counted and one.retryable and one.reason not in _NO_BLAME]
    return tuple(sorted({one.node for one in failures if one.node is not None}))


def image(job: FineTuneJob, settings: Settings) -> str:
    """The trainer's image: the job's own repository or tag, else the operator's."""
    repository = job.spec.image.repository or settings.image_repository
    return f"{repository}:{job.spec.image.tag or settings.image_tag}"


def output_dir(job: FineTuneJob, paths: Paths) -> str:
    """<output>/<namespace>/<job>/<output_dir>: two jobs with one pasted output_dir never meet."""
    return f"{paths.output}/{job.namespace}/{job.name}/{job.training.training.output_dir}"


def own_source(job: FineTuneJob) -> str | None:
    """What each pod has to fetch for itself."""
    return source_of(job.spec) if job.spec.storage.cache is None else None


def train_file(job: FineTuneJob, paths: Paths, prepared: Preparation | None, *, has_deepspeed: bool) -> dict[str, Any]:
    """What the user pasted, with the keys that the manifest owns put to their places in the pod."""
    said = dict(config.dump(job.training))
    said["output_dir"] = output_dir(job, paths)
    if job.spec.model is not None:
        said["model_name_or_path"] = model_path(job, job.spec.model.uri, paths, prepared)
    if source_of(job.spec) is not None:
        said.pop("model_revision", None)  # of the source; what was fetched is that revision
    if dataset_info(job, paths) is not None:
        said["dataset_dir"] = paths.config
    if has_deepspeed:
        said["deepspeed"] = f"{paths.config}/{DEEPSPEED_FILE}"
    return said


def model_path(job: FineTuneJob, uri: str, paths: Paths, prepared: Preparation | None) -> str:
    """Where the ranks find the model; the source itself as long as it has not been fetched."""
    if prepared is not None and prepared.model is not None:
        return prepared.model
    if source_of(job.spec) is None:
        return located(parse_location(uri, MODEL_SCHEMES), paths)
    return uri if job.spec.storage.cache is not None else f"{paths.cache}/{OWN_MODEL}"


def dataset_info(job: FineTuneJob, paths: Paths) -> dict[str, Any] | None:
    """LLaMA-Factory's dataset_info.json for spec.datasets; None where no data set of the manifest has a source."""
    entries = {
        dataset.name: {**source(dataset.uri, paths), **(dataset.info or {})}
        for dataset in job.spec.datasets
        if dataset.uri is not None
    }
    return entries or None


def source(uri: str, paths: Paths) -> dict[str, str]:
    """A data set's uri as the source key of a dataset_info entry."""
    location = parse_location(uri, DATASET_SCHEMES)
    keys = {"hf": "hf_hub_url", "ms": "ms_hub_url", "s3": "cloud_file_name", "gs": "cloud_file_name"}
    return {keys.get(location.scheme, "file_name"): located(location, paths)}


def located(location: Location, paths: Paths) -> str:
    """Where the trainer finds it: a hub id, a bucket's file, a path in a mounted claim, or a path in the image."""
    if location.scheme == "pvc":
        return f"{paths.claims}/{location.name}/{location.path}".rstrip("/")
    if location.scheme in ("s3", "gs"):
        return f"{location.scheme}://{location.name}/{location.path}"
    return location.path or location.name


def run_spec(
    job: FineTuneJob, settings: Settings, paths: Paths, network: NetworkProfile, *, data_prepared: bool
) -> RunSpec:
    """run.json."""
    policy = job.spec.run_policy
    url = settings.intake_url
    return RunSpec(
        contract=CONTRACT_VERSION,
        namespace=job.namespace,
        job=job.name,
        uid=job.uid,
        spec_hash=job.spec_hash,
        nodes=job.spec.resources.nodes,
        processes_per_node=job.spec.processes_per_node,
        gpus_per_node=job.spec.resources.gpus_per_node,
        launcher=job.spec.launcher,
        output_dir=output_dir(job, paths),
        overwrite_output_dir=bool(job.training.training.overwrite_output_dir),
        hang_timeout_seconds=policy.hang_timeout_seconds,
        grace_seconds=policy.termination_grace_period_seconds,
        network_device=network.device,
        min_memlock=network.memlock,
        checkpoint_seconds=policy.checkpoint_seconds,
        keep_checkpoint_seconds=policy.keep_checkpoint_seconds,
        progress_url=f"{url}/v1/namespaces/{job.namespace}/jobs/{job.name}/progress" if url else None,
        data_prepared=data_prepared,
    )


def mounts(job: FineTuneJob, paths: Paths) -> tuple[Mount, ...]:
    """Output, cache, and one read-only mount for every claim that a pvc:// uri names."""
    storage = job.spec.storage
    found = [_storage_mount("output", storage.output, paths.output)]
    if storage.cache is not None or own_source(job) is not None:
        found.append(_storage_mount("cache", storage.cache, paths.cache))
    named = [claim for claim, fields in claims(job.spec).items() if any(path.endswith("uri") for path in fields)]
    found += [
        Mount(volume=f"claim-{index}", claim=claim, path=f"{paths.claims}/{claim}", read_only=True)
        for index, claim in enumerate(named)
    ]
    return tuple(found)


def _storage_mount(volume: str, claim: Claim | None, path: str) -> Mount:
    """A mount of spec.storage; an output without a claim is a folder that goes with the pod."""
    if claim is None:
        return Mount(volume=volume, claim=None, path=path)
    return Mount(volume=volume, claim=claim.claim_name, path=path, sub_path=claim.sub_path)
