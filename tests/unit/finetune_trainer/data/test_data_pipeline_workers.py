"""Work in forked processes: order, errors, deaths, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from finetune_trainer.data.workers import WorkerDied, run


def square(number: int) -> tuple[int, int]:
    time.sleep(0.02 * (3 - number % 3))
    return number * number, os.getpid()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_results_come_in_the_order_of_the_tasks_from_several_processes() -> None:
    done = list(run(square, range(12), 3))
    assert [result for result, _ in done] == [number * number for number in range(12)]
    pids = {pid for _, pid in done}
    assert len(pids) == 3
    assert os.getpid() not in pids


@pytest.mark.parametrize(("tasks", "count"), [(5, 1), (1, 4), (0, 4)])
def test_one_process_or_one_task_needs_no_other(tasks: int, count: int) -> None:
    assert {pid for _, pid in run(square, range(tasks), count)} <= {os.getpid()}


def test_there_are_never_more_processes_than_tasks() -> None:
    assert len({pid for _, pid in run(square, range(2), 16)}) == 2


def test_tasks_are_read_as_they_are_needed() -> None:
    handed: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            handed.append(number)
            yield number

    results = run(square, tasks(), 2)
    for _ in range(10):
        next(results)
    assert len(handed) < 20
    results.close()  # type: ignore[attr-defined]


def test_the_function_need_not_be_picklable_and_big_tasks_pass() -> None:
    offset = 5
    megabytes = [b"x" * (3 << 20)] * 4
    assert list(run(lambda task: len(task) + offset, megabytes, 2)) == [(3 << 20) + 5] * 4


def test_big_results_pass() -> None:
    assert [len(result) for result in run(lambda task: b"x" * (task << 20), [3, 1, 2], 2)] == [
        3 << 20,
        1 << 20,
        2 << 20,
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_tasks_error_is_raised(count: int) -> None:
    def fail(number: int) -> int:
        if number < 2:
            return number
        time.sleep(0.2 if number == 2 else 0)  # the later error is there first
        raise ValueError(f"row {number}")

    with pytest.raises(ValueError, match="row 2"):
        list(run(fail, range(6), count))


class Odd(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_an_error_that_cannot_travel_is_told_by_its_text() -> None:
    def fail(number: int) -> int:
        raise Odd(number, 2)

    with pytest.raises(RuntimeError, match="Odd: 0 and 2"):
        list(run(fail, range(3), 2))


def test_a_killed_worker_ends_the_run_with_words_and_no_process_stays() -> None:
    before = children()

    def die(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(WorkerDied, match=r"ended with signal 9.*out of memory.*preprocessing_num_workers lower"):
        list(run(die, range(9), 2))
    assert children() - before == set()


def test_workers_end_when_the_parent_is_killed() -> None:
    program = (
        "import os, sys, time\n"
        "from finetune_trainer.data.workers import run\n"
        "def work(number):\n"
        "    os.write(1, f'{os.getpid()}\\n'.encode())\n"
        "    time.sleep(0.3)\n"
        "list(run(work, range(1000), 2))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = {int(parent.stdout.readline()) for _ in range(2)}
        parent.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(alive(pid) for pid in pids):
        time.sleep(0.05)
    assert [pid for pid in pids if alive(pid)] == []


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
