"""What the keys about trackers, profilers and logs must not say together."""

from __future__ import annotations

from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.trackers import TRACKERS, asked
from finetune_trainer.config.train_config import TrainConfig

_OWNED = {
    "tensorboard": ("training", ("logging_dir",)),
    "trackio": ("training", ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")),
    "swanlab": (
        "finetuning",
        ("swanlab_project", "swanlab_workspace", "swanlab_run_name", "swanlab_mode", "swanlab_logdir"),
    ),
}
"""Tracker -> its keys, and the group that they stand in."""


def _names(cfg: TrainConfig) -> Broken:
    said = cfg.training.report_to
    for name in said:
        if name == "kubeflow":
            yield ("report_to",), "kubeflow: a job's progress is always told to the operator; leave it out"
        elif name not in (*TRACKERS, "all", "none"):
            yield ("report_to",), f"{name}: not supported; what works: {', '.join((*TRACKERS, 'all', 'none'))}"
    if len(said) > 1 and ("none" in said or "all" in said):
        alone = "none" if "none" in said else "all"
        yield ("report_to",), f"{alone} stands alone; leave it out, or the other names"


def _owned(cfg: TrainConfig) -> Broken:
    trackers = asked(cfg)
    for tracker, (group, names) in _OWNED.items():
        values = getattr(cfg, group)
        for name in names:
            differs = getattr(values, name) != type(values).model_fields[name].default
            if differs and tracker not in trackers and "all" not in trackers:
                yield (name, "report_to"), f"has no effect without report_to: {tracker}; add it, or leave this out"


def _profiler(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if training.enable_torch_profiler:
        return
    for name, field in type(training).model_fields.items():
        if name.startswith("profiler_") and getattr(training, name) != field.default:
            yield (name, "enable_torch_profiler"), "has no effect without enable_torch_profiler: true"


def _debug(cfg: TrainConfig) -> Broken:
    for name in cfg.training.debug:
        if name != "underflow_overflow":
            yield ("debug",), f"{name}: not supported; what works: underflow_overflow"


def _speeds(cfg: TrainConfig) -> Broken:
    seen = cfg.training.include_num_input_tokens_seen
    if cfg.finetuning.include_effective_tokens_per_second and seen in (True, "all"):
        keys = ("include_num_input_tokens_seen", "include_effective_tokens_per_second")
        yield keys, "counts padding, which include_effective_tokens_per_second leaves out; write non_padding"


RULES: tuple[Rule, ...] = (_names, _owned, _profiler, _debug, _speeds)
