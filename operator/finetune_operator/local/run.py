"""The operator's pass in a loop, with processes in the place of a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from finetune_operator import plan, render
from finetune_operator.local import environment, processes, side_job
from finetune_operator.local.display import Display
from finetune_operator.local.folders import Folders
from finetune_operator.local.interrupts import Interrupts
from finetune_operator.local.processes import POLL_SECONDS, PROGRAM, Attempt
from finetune_operator.local.side_job import SideProcess
from finetune_operator.observe import Frozen, Observed
from finetune_operator.plan import Plan, PreparePlan, RunPlan, State
from finetune_operator.settings import Settings
from finetune_operator.spec import AttemptRecord, FineTuneJob, Recorded
from finetune_trainer.records import Exported, Preparation

STOPPED = 130
"""Exit code of a run that was asked to stop, as a shell gives it for Ctrl-C."""
PEERS_SECONDS = 15.0
"""How long the other nodes may take to end when one has failed: they can save nothing without it."""
END_SECONDS = 60.0
"""How long the other nodes may take to end when the master has succeeded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalRun:
    """What `finetune run` was asked to do."""

    job: FineTuneJob
    folders: Folders
    settings: Settings = field(default_factory=Settings)
    program: Sequence[str] = PROGRAM
    """What to start in the place of `finetune`."""


def run(request: LocalRun, display: Display) -> int:
    """Train on this machine, attempt by attempt, as the operator would.

    Returns:
        0 when the job succeeded, 1 when it failed, `STOPPED` when it was asked to stop.

    Raises:
        FolderMissing: a claim that the job reads has no folder.
    """
    request.folders.clear()
    with Interrupts() as interrupts:
        return _Loop(request=request, display=display, interrupts=interrupts).run()


@dataclass(kw_only=True, slots=True)
class _Loop:
    """The state between two passes: what the cluster and the job's status hold for the operator."""

    request: LocalRun
    display: Display
    interrupts: Interrupts
    prepares: SideProcess[Preparation] | None = None
    exports: SideProcess[Exported] | None = None
    attempt: Attempt | None = None
    frozen: Frozen | None = None
    records: tuple[AttemptRecord, ...] = ()
    admitted: datetime | None = None

    def run(self) -> int:
        """Pass after pass until nothing is left to wait for."""
        try:
            while (planned := self._pass()).requeue_after is not None or self._is_busy(planned):
                time.sleep(POLL_SECONDS)
                if self.exports is not None and self.interrupts.asked():
                    self.display.say("stopped; what was trained is complete, and not exported")
                    return STOPPED
        finally:
            if self.attempt is not None:
                self.attempt.kill()
            for process in (self.prepares, self.exports):
                if process is not None:
                    process.stop()
        if planned.reason or not self.records:
            self.display.say(planned.message)
        return {State.SUCCEEDED: 0, State.SUSPENDED: STOPPED}.get(planned.state, 1)

    def _is_busy(self, planned: Plan) -> bool:
        return self.attempt is not None or planned.state in {State.PREPARING, State.EXPORTING}

    def _pass(self) -> Plan:
        now = datetime.now(UTC)
        planned = plan.make(self._job(), self._observed(), self.request.settings, now)
        self.admitted = planned.admitted or self.admitted
        if planned.record is not None:
            self._end(planned.record)
        elif planned.prepare is not None:
            self._prepare(planned.prepare)
        elif planned.run is not None:
            self._start(planned.run)
        elif planned.export is not None:
            self._export()
        elif planned.state == State.PREPARING and self.prepares is not None:
            self.display.show(self.prepares.progress())
        elif self.attempt is not None:
            self.display.show(self.attempt.progress())
        return planned

    def _job(self) -> FineTuneJob:
        """The job with our memory of it; a wish to stop is spec.runPolicy.suspend."""
        job = replace(self.request.job, recorded=Recorded(attempts=self.records, admitted=self.admitted))
        if not self.interrupts.asked():
            return job
        policy = job.spec.run_policy.model_copy(update={"suspend": True})
        return replace(job, spec=job.spec.model_copy(update={"run_policy": policy}))

    def _observed(self) -> Observed:
        if self.attempt is None:
            prepares = self.prepares.observe() if self.prepares is not None else None
            exports = self.exports.observe() if self.exports is not None else None
            return Observed(frozen=self.frozen, prepare=prepares, export=exports)
        return Observed(attempts=(self.attempt.observe(),), frozen=self.frozen, progress=self.attempt.progress())

    def _prepare(self, planned: PreparePlan) -> None:
        """As in a cluster, but for the paths."""
        request, folders = self.request, self.request.folders
        here = plan.prepare_plan(request.job, request.settings, folders.paths)
        assert here is not None, "what is to be prepared does not depend on where"
        files, job = render.preparation(here)
        folders.mount(here.run.mounts)
        folders.write([files])
        folder = folders.root / "prepare"
        self.prepares = side_job.start(job, folder, Preparation, request.program, told=planned.hash)
        self.display.say(f"preparing the model and the data; log: {self.prepares.log}")

    def _export(self) -> None:
        """As in a cluster, but for the paths; the last attempt's files are still there."""
        request, folders = self.request, self.request.folders
        here = plan.export_plan(request.job, self._observed(), request.settings, folders.paths)
        (job,) = render.exportation(here)
        self.exports = side_job.start(job, folders.root / "export", Exported, request.program)
        self.display.say(f"merging the adapter into the model; log: {self.exports.log}")

    def _start(self, planned: RunPlan) -> None:
        """The same plan with this machine's paths; nothing queues here."""
        request, folders = self.request, self.request.folders
        found = self.prepares.observe().found if self.prepares is not None else None
        run = plan.run_plan(
            request.job, planned.attempt, request.settings, frozen=self.frozen, prepared=found, paths=folders.paths
        )
        manifests = render.children(run)
        folders.mount(run.mounts)
        folders.write(manifests)
        self.frozen = Frozen(
            spec_hash=request.job.spec_hash, contract=run.run.contract, image=run.image, nodes=run.run.nodes
        )
        pytorchjob = manifests[-1]
        for name in environment.unknown(pytorchjob, os.environ):
            self.display.say(f"{name} comes from the cluster and is not set here; export it if the run needs it")
        self.attempt = processes.start(run, pytorchjob, folders.attempt(run.attempt), request.program)
        self.display.say(f"attempt {run.attempt} started; logs: {folders.attempt(run.attempt)}")

    def _end(self, record: AttemptRecord) -> None:
        """Nobody of an attempt that has ended stays alive."""
        attempt = self.attempt
        assert attempt is not None, "only a running attempt ends"
        if record.reason == "Succeeded":
            attempt.wait(END_SECONDS, self.interrupts.asked)
        elif record.reason == "Suspended":
            self.display.say("stopping: the ranks save a checkpoint; press Ctrl-C again to stop at once")
            attempt.terminate()
            grace = self.request.job.spec.run_policy.termination_grace_period_seconds
            attempt.wait(grace, self.interrupts.insisted)
        else:
            attempt.terminate()
            attempt.wait(PEERS_SECONDS, self.interrupts.asked)
        attempt.kill()
        self.display.show(attempt.progress())
        self.records = (*self.records, record)
        self.attempt = None
        self._tell(record)

    def _tell(self, record: AttemptRecord) -> None:
        if record.reason == "Succeeded":
            self.display.say(f"attempt {record.number} succeeded")
            return
        where = "" if record.rank is None else f" (rank {record.rank})"
        self.display.say(f"attempt {record.number} ended: {record.reason}{where}: {record.message}")
        if record.log_tail and record.retryable:  # a fault of the user's is told in a sentence
            self.display.say(record.log_tail.rstrip())
