"""The end of a container: nothing below process 1 stays alive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psutil

from finetune_operator import plan, render
from finetune_operator.local import processes
from finetune_operator.local.processes import POLL_SECONDS
from finetune_operator.settings import Settings

STUBBORN = """
import pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
pathlib.Path(sys.argv[0]).with_suffix(".pid").write_text(f"{child.pid}\\n")
signal.pause()
"""


def test_kill_reaches_children_in_sessions_of_their_own(machine: Any, make_job: Any, tmp_path: Path) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    run = plan.run_plan(make_job(), 1, Settings(), paths=machine.folders().paths)
    attempt = processes.start(run, render.children(run)[-1], tmp_path / "attempt", (sys.executable, str(script)))
    pid_file = script.with_suffix(".pid")
    attempt.wait(60, lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    child = psutil.Process(int(pid_file.read_text()))
    attempt.terminate()
    attempt.wait(POLL_SECONDS, lambda: False)
    assert attempt.is_alive()
    attempt.kill()
    assert not attempt.is_alive()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert attempt.pods[0].observe().exit_code == 137
