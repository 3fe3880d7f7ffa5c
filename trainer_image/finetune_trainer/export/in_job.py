"""A job's adapter, merged into its base after the training: process 1 of a pod without a GPU."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_trainer import atomic, config, failures, quiet, records, supervise
from finetune_trainer.config import TrainConfig
from finetune_trainer.export.model import export
from finetune_trainer.failures import RunError
from finetune_trainer.records import Completion, Exported, RunSpec
from finetune_trainer.supervise import Pod

_KEPT = frozenset(
    {"stage", "model_name_or_path", "model_revision", "template", "template_file", "trust_remote_code"}
    | {"default_system", "tool_format", "enable_thinking", "use_fast_tokenizer", "split_special_tokens"}
    | {"resize_vocab", "add_tokens", "add_special_tokens", "new_special_tokens_config"}
)
"""Keys of a training that speak of its result too. Others are about the way there: quantised weights, say, into which
nothing can be merged, or a kernel that this pod has no GPU for."""


def export_in_job(environment: Mapping[str, str]) -> int:
    """Merge what the job has trained, once, and tell.

    Returns:
        0, `EXIT_AGAIN` or `EXIT_LASTING`.

    Raises:
        SystemExit: 143 after SIGTERM.
    """
    supervise.end_on_sigterm()
    quiet.hush()
    pod = Pod.from_environment(environment)
    try:
        found = _exported(pod.config_dir)
    except Exception as error:
        found = failures.reported(Exported, error)
    return supervise.leave(found, pod.termination_log)


def keys(cfg: TrainConfig, output_dir: Path, folder: Path) -> dict[str, Any]:
    """What train.yaml said -> the keys of the export of what it has made.

    Args:
        cfg: train.yaml.
        output_dir: with the trained adapter.
        folder: where the model goes.
    """
    given = cfg.model.adapter_name_or_path
    below = given if cfg.finetuning.create_new_adapter else given[:-1]  # the last one is what was trained on
    kept = {key: value for key, value in config.dump(cfg).items() if key in _KEPT}
    adapters = [*below, str(output_dir)]
    return {"do_train": True, **kept, "adapter_name_or_path": adapters, "export_dir": str(folder)}


def _exported(config_dir: Path) -> Exported:
    run = RunSpec.from_json((config_dir / records.RUN_FILE).read_text(encoding="utf-8"))
    output_dir = Path(run.output_dir)
    finished = _finished(run)
    folder, record = output_dir / records.EXPORT_DIR, output_dir / records.STATE_DIR / records.EXPORT_FILE
    known = _known(record)
    if known is not None and known.finished == finished and folder.is_dir():
        return known
    draft = folder.with_name(f"{folder.name}.draft")
    for older in (folder, draft):
        if older.exists():
            shutil.rmtree(older)
    cfg = config.load(config_dir / records.TRAIN_FILE, fill=False)
    export(config.parse(keys(cfg, output_dir, draft)))
    draft.rename(folder)
    message = f"base and adapter are merged in {folder}"
    found = Exported(
        result="succeeded",
        reason="Exported",
        message=message,
        retryable=False,
        folder=str(folder),
        finished=finished,
    )
    atomic.write(record, found.to_json())
    return found


def _finished(run: RunSpec) -> str:
    """When the training of this very job ended."""
    file = Path(run.output_dir) / records.STATE_DIR / records.COMPLETION_FILE
    try:
        completion = Completion.from_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{run.output_dir} holds no completed training: {file.name} is missing") from error
    if completion.spec_hash != run.spec_hash:
        raise RunError(f"{run.output_dir} holds the training of another job (spec {completion.spec_hash})")
    return completion.finished


def _known(record: Path) -> Exported | None:
    try:
        return Exported.from_json(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
