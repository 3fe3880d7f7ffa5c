"""What cannot fit, where that is known before the model is fetched."""

from __future__ import annotations

from collections.abc import Iterable

from finetune_operator import names
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import MODEL_SCHEMES, FineTuneJob, Violation, machine_of, parse_location
from finetune_trainer import sizing
from finetune_trainer.sizing import known


def fits(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """A GPU holds what a rank of a well-known model takes; of others, the preparation will tell."""
    if job.spec.resources.gpu_memory is None or job.ignores_memory or job.spec.model is None:
        return
    location = parse_location(job.spec.model.uri, MODEL_SCHEMES)
    model = known.find(location.name) if location.scheme in ("hf", "ms") else None
    if model is None:
        return
    try:
        report = sizing.report(job.training, model, machine_of(job.spec))
    except (sizing.NotSized, sizing.TargetUnknown):  # the trainer's to say, or nothing to say
        return
    if not report.fits:
        words = "; ".join(filter(None, (sizing.in_words(report), sizing.instead(report), names.STARTS_ANYWAY)))
        yield Violation(path="spec.resources.gpuMemory", message=words)
