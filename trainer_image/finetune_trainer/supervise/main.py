"""One run of a pod, from run.json to the outcome."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from finetune_trainer import records
from finetune_trainer.records import Outcome, RunSpec
from finetune_trainer.supervise import launch, memory, out_of_memory, outcome, preflight, recorder, report, stacks
from finetune_trainer.supervise.launch import Place, Pod
from finetune_trainer.supervise.out_of_memory import Full
from finetune_trainer.supervise.outcome import Ended, Identity, Refused
from finetune_trainer.supervise.post import Poster
from finetune_trainer.supervise.processes import Launcher
from finetune_trainer.supervise.signals import Wait, awaited
from finetune_trainer.supervise.stopping import Stopping
from finetune_trainer.supervise.watch import Stall, Watch

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
HEAD_START_SECONDS = 5.0
"""For the supervisor of a rank that is stopped: it sees the hang when all others do, and knows the cause."""

Command = Callable[[RunSpec, Place, Path], list[str]]


def supervise(environment: Mapping[str, str], *, command: Command = launch.command) -> int:
    """Run this pod's ranks and tell how it ended.

    Returns:
        0 when the training is complete, 143 when it was stopped on request, 1 otherwise.
    """
    pod = Pod.from_environment(environment)
    with awaited() as wait:
        try:
            run = preflight.read_run(pod.config_dir, environment)
        except Refused as refusal:
            return _tell(outcome.refused(refusal, _identity(pod, "")), pod, None)
        who = _identity(pod, run.spec_hash)
        try:
            where = preflight.check(run, pod, environment)
        except Refused as refusal:
            return _tell(outcome.refused(refusal, who), pod, run)
        poster = _poster(run, where, pod)
        ended = _attend(run, where, pod, wait, _started(run, where, pod, command, environment))
        report.keep_stacks(ended.stacks, pod.attempt, where.node_rank, Path(run.output_dir))
        code = _tell(_judged(ended, who, run, pod), pod, run)
        if poster is not None:
            poster.close()
        return code


def _judged(ended: Ended, who: Identity, run: RunSpec, pod: Pod) -> Outcome:
    told = outcome.judge(ended, who)
    error = next((one for one in ended.errors if one.reason == records.OUT_OF_MEMORY), None)
    return out_of_memory.explained(told, Full(error=error, group=memory.group()), run, pod.config_dir)


def _identity(pod: Pod, spec_hash: str) -> Identity:
    return Identity(attempt=pod.attempt, node_rank=pod.node_rank, spec_hash=spec_hash, host=socket.gethostname())


def _tell(ended: Outcome, pod: Pod, run: RunSpec | None) -> int:
    """Write the outcome; the exit code that goes with it."""
    log.info("%s (%s): %s", ended.result, ended.reason, ended.message)
    report.write(ended, pod.termination_log, Path(run.output_dir) if run else None)
    return outcome.EXIT_CODES[ended.result]


def _poster(run: RunSpec, where: Place, pod: Pod) -> Poster | None:
    """Rank 0 writes the progress, so only its pod posts."""
    if run.progress_url is None or where.node_rank != 0:
        return None
    return Poster(run.progress_url, pod.token_file, pod.run_dir / records.PROGRESS_FILE, ca_file=pod.ca_file)


def _started(run: RunSpec, where: Place, pod: Pod, command: Command, environment: Mapping[str, str]) -> Launcher:
    argv = command(run, where, pod.config_dir)
    log.info("attempt %d, node %d of %d: %s", pod.attempt, where.node_rank, run.nodes, " ".join(argv))
    return Launcher(argv, launch.environment_of_ranks(run, pod, environment))


def _attend(run: RunSpec, where: Place, pod: Pod, wait: Wait, launcher: Launcher) -> Ended:
    """Stay with the launcher to its end, and to the end of everything that it started."""
    killed_before = memory.kills()
    watch = Watch(
        pod.run_dir,
        processes=run.processes_per_node,
        first_rank=where.node_rank * run.processes_per_node,
        timeout=run.hang_timeout_seconds,
    )
    stopping, stall = _until_end(launcher, watch, wait, pod, run.grace_seconds)
    found = stacks.take(launcher.below()) if stall else ()
    if stall and run.nodes > 1 and not any(one.is_stopped for one in found):
        _let_others_tell(wait)
    recorded = _recordings(run, where, pod, found) if stall else ()
    exit_code = launcher.kill()
    recorded += recorder.dumped(pod.run_dir)
    return Ended(
        launcher=run.launcher,
        exit_code=exit_code,
        result=report.result(pod.run_dir),
        errors=report.errors(pod.run_dir),
        stall=stall,
        stacks=found,
        recorded=report.keep_recordings(recorded, pod.attempt, Path(run.output_dir)),
        stop_asked=stopping is not None,
        out_of_memory=memory.kills() > killed_before,
        step=watch.step,
        progress=report.progress(pod.run_dir),
        log_tail=launcher.tail.text(),
    )


def _let_others_tell(wait: Wait) -> None:
    """A wish to stop says that they have."""
    due = time.monotonic() + HEAD_START_SECONDS
    while (left := due - time.monotonic()) > 0 and not wait(left):
        pass


def _recordings(
    run: RunSpec, where: Place, pod: Pod, found: tuple[stacks.RankStacks, ...]
) -> tuple[recorder.Recording, ...]:
    """The last collectives of this node's ranks; a stopped one cannot tell them."""
    first, stopped = where.node_rank * run.processes_per_node, {one.rank for one in found if one.is_stopped}
    ranks = {local: first + local for local in range(run.processes_per_node) if first + local not in stopped}
    return recorder.take(pod.run_dir, ranks, gpu=run.gpus_per_node > 0)


def _until_end(
    launcher: Launcher, watch: Watch, wait: Wait, pod: Pod, grace: int
) -> tuple[Stopping | None, Stall | None]:
    """Until the launcher is dead, a rank hangs, or the time to stop is over."""
    stopping: Stopping | None = None
    told = False
    while launcher.reap() is None:
        wishes, now = wait(TICK_SECONDS), time.monotonic()
        if wishes:
            stopping = stopping.at_once(now) if stopping else _wish_to_stop(pod, now, grace)
        stall = watch.look(now)
        due = stopping.step(now) if stopping else "wait"
        if stall is not None or due == "kill":
            return stopping, stall
        if due == "terminate" and not told:
            log.warning("the ranks did not end in time: SIGTERM to the launcher")
            launcher.terminate()
            told = True
    watch.look(time.monotonic())
    return stopping, None


def _wish_to_stop(pod: Pod, now: float, grace: int) -> Stopping:
    """Tell the ranks of this pod; they agree with all others at the end of a step, and save together."""
    log.info("asked to stop: the ranks save a checkpoint at the end of this step (%d s at most)", grace)
    (pod.run_dir / records.STOP_FILE).touch()
    return Stopping(asked=now, grace=grace)
