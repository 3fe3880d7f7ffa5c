"""What must be true before ranks are started: the contract, the files, the size of the world, the output folder."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from finetune_trainer import records
from finetune_trainer.records import RunSpec
from finetune_trainer.supervise import fabric, launch, recorder
from finetune_trainer.supervise.launch import Place, Pod
from finetune_trainer.supervise.outcome import Refused

_FOR_GOOD = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""Errors that no other attempt will cure."""


def read_run(config_dir: Path, environment: Mapping[str, str]) -> RunSpec:
    """run.json, of the contract that this image knows.

    Raises:
        Refused: ContractMismatch, or ConfigInvalid where files are missing or unreadable.
    """
    file = config_dir / records.RUN_FILE
    try:
        text = file.read_text()
        raw = json.loads(text)
    except (OSError, ValueError) as error:
        raise Refused("ConfigInvalid", f"{file} cannot be read: {error}") from error
    contract = raw.get("contract") if isinstance(raw, dict) else None
    if contract != records.CONTRACT_VERSION:
        raise Refused(
            "ContractMismatch",
            f"run.json speaks contract {contract}, this image speaks {records.CONTRACT_VERSION}: "
            "use the trainer image that belongs to the operator's version",
        )
    try:
        return RunSpec.of_attempt(text, environment)
    except ValueError as error:
        raise Refused("ConfigInvalid", f"{file}: {error}") from error


def check(run: RunSpec, pod: Pod, environment: Mapping[str, str]) -> Place:
    """This pod's place in the run, when everything that the ranks need is there; the run folder is empty then.

    Raises:
        Refused: WorldSizeMismatch, ConfigInvalid, NetworkDeviceMissing, MemlockTooLow or OutputNotWritable.
    """
    where = launch.place(run, environment)
    check_files(pod.config_dir, run)
    fabric.check(run)
    check_output(Path(run.output_dir))
    empty_run_dir(pod.run_dir)
    return where


def check_files(config_dir: Path, run: RunSpec) -> None:
    """All files that the ranks and the launcher will read are there.

    Raises:
        Refused: ConfigInvalid, with every missing file.
    """
    wanted = [records.TRAIN_FILE, *([records.HOSTFILE] if run.launcher == "deepspeed" else [])]
    missing = [name for name in wanted if not (config_dir / name).is_file()]
    if missing:
        raise Refused("ConfigInvalid", f"{config_dir} lacks {', '.join(missing)}")


def check_output(output_dir: Path) -> None:
    """Make output_dir and its state folder, and write there.

    Raises:
        Refused: OutputNotWritable.
    """
    state = output_dir / records.STATE_DIR
    try:
        state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=state) as probe:
            probe.write(b"finetune")
    except OSError as error:
        raise Refused(
            "OutputNotWritable",
            f"{output_dir} cannot be written by uid {os.getuid()}, gid {os.getgid()}: {error.strerror}; "
            "set podTemplate's securityContext.fsGroup, or give the claim's folder to this user",
            retryable=error.errno not in _FOR_GOOD,
        ) from error


def empty_run_dir(run_dir: Path) -> None:
    """Make the run folder; what another run left there is gone, or it would be read as this run's word."""
    run_dir.mkdir(parents=True, exist_ok=True)
    named = (records.HEARTBEAT_FILE, records.ERROR_FILE, records.PROGRESS_FILE, records.RESULT_FILE)
    for pattern in (*named, records.RECORDER_SOCKET, f"{recorder.PIPE_PREFIX}*", records.STOP_FILE):
        for file in run_dir.glob(pattern.format(local_rank="*", rank="*")):
            file.unlink()
