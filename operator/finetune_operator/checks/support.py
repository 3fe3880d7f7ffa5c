"""What the manifest may say and this operator, with these settings and this trainer, can't do."""

from __future__ import annotations

from collections.abc import Iterable

from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation, nearest
from finetune_trainer.template import registry


def adapter_to_merge(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """There will be an adapter, and it will still be there when the ranks' pods are gone."""
    if job.spec.export is None or not job.spec.export.merge:
        return
    kind = job.training.finetuning.finetuning_type
    if kind not in {"lora", "oft"}:
        message = f"has nothing to merge: finetuning_type {kind} writes a whole model into output_dir; leave it out"
        yield Violation(path="spec.export.merge", message=message)
    elif not job.training.training.do_train:
        message = "has nothing to merge: without do_train: true no adapter is trained; leave it out"
        yield Violation(path="spec.export.merge", message=message)
    if job.spec.storage.output is None:
        message = "needs spec.storage.output.claimName: without a claim the adapter goes with the ranks' pods"
        yield Violation(path="spec.export.merge", message=message)


def datasets_alike(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """Either every data set brings its source, or training.dataset_dir knows them all: one dataset_info.json."""
    without = [index for index, dataset in enumerate(job.spec.datasets) if dataset.uri is None]
    if 0 < len(without) < len(job.spec.datasets):
        for index in without:
            message = "say where it lies: sets with and without a uri can't be mixed yet"
            yield Violation(path=f"spec.datasets[{index}].uri", message=message)


def template_known(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """The trainer has the template."""
    name = job.training.data.template
    if name is None or job.training.data.template_file is not None:
        return  # the file lies on a volume, which the operator cannot see
    try:
        registry.get(name)
    except ValueError as error:
        yield Violation(path="spec.training.template", message=str(error))


def launcher_fits(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """DeepSpeed's launcher starts DeepSpeed."""
    if job.spec.launcher == "deepspeed" and job.training.training.deepspeed is None:
        message = "deepspeed needs spec.training.deepspeed, e.g. zero3; or write launcher: torchrun"
        yield Violation(path="spec.launcher", message=message)


def network_profile_known(job: FineTuneJob, _observed: Observed, settings: Settings) -> Iterable[Violation]:
    """The owner of the cluster has described the fabric."""
    profile = job.spec.network.profile
    if profile is None or profile in settings.network_profiles:
        return
    known = ", ".join(sorted(settings.network_profiles)) or "none"
    message = (
        f"there is no network profile {profile}{nearest(profile, sorted(settings.network_profiles))}; known: {known}"
    )
    yield Violation(path="spec.network.profile", message=message)


def kept_of_what(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """What is kept by time is kept of what goes by number."""
    if job.spec.run_policy.keep_checkpoint_seconds and job.training.training.save_total_limit is None:
        message = (
            "has nothing to keep: all checkpoints stay; write spec.training.save_total_limit too, or leave it out"
        )
        yield Violation(path="spec.runPolicy.keepCheckpointSeconds", message=message)


def devices_agree(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """GPUs that are asked for are used."""
    gpus = job.spec.resources.gpus_per_node
    if gpus and job.training.training.use_cpu:
        message = f"leaves {gpus} GPUs of each node idle; leave it out, or write spec.resources.gpusPerNode: 0"
        yield Violation(path="spec.training.use_cpu", message=message)


def resources_said_once(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """`extra` doesn't say again what has a field of its own."""
    owners = {
        job.spec.resources.gpu_resource: "gpusPerNode",
        "cpu": "cpu",
        "memory": "memory",
    }
    for name in job.spec.resources.extra:
        if name in owners:
            message = f"say it as spec.resources.{owners[name]}"
            yield Violation(path=f"spec.resources.extra.{name}", message=message)
