"""`finetune fetch` as processes: killed in the middle, two at once, ended by Kubernetes; and what people see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.finetune_trainer.fetch.conftest import BIG, FILES, NEEDED, content, run
from tests.unit.finetune_trainer.fetch.serving import COMMIT, Answer, Hub

from finetune_trainer import fetch
from finetune_trainer.fetch.errors import CacheUnusable, DiskFull, LeaseLost
from finetune_trainer.fetch.progress import Meter, Progress
from finetune_trainer.fetch.screen import Lines, in_words, left_out

SOURCE = "hf://org/tiny"


@contextmanager
def program(source: str, cache: Path, hub: Hub, **variables: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "finetune_trainer", "fetch", source, "--cache", str(cache)]
    environment = {**os.environ, "HF_ENDPOINT": hub.hub.url, **variables}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def at(hub: Hub) -> fetch.Credentials:
    return fetch.Credentials(hf_endpoint=hub.hub.url)


def part_of(cache: Path) -> Path:
    return cache / "hf/org/tiny" / COMMIT / f"{BIG}.incomplete"


def until_there(path: Path, size: int) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, f"{path.name} never had {size} bytes"
        time.sleep(0.01)


def test_a_killed_process_is_continued_by_the_next(hub: Hub, tmp_path: Path) -> None:
    hub.cdn.holds[BIG] = 2_000_000
    with program(SOURCE, tmp_path, hub) as process:
        until_there(part_of(tmp_path), 2_000_000 - (1 << 18))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    hub.cdn.go.set()
    there = part_of(tmp_path).stat().st_size
    hub.cdn.asked.clear()
    assert content(run(SOURCE, tmp_path, at(hub))) == NEEDED
    assert [one.range for one in hub.cdn.of(BIG)] == [f"bytes={there}-"]
    assert [path.name for path in (tmp_path / "hf/org/tiny").iterdir()] == [COMMIT]


def test_a_process_that_is_ended_gives_its_lease_back(hub: Hub, tmp_path: Path) -> None:
    hub.cdn.holds[BIG] = 2_000_000
    with program(SOURCE, tmp_path, hub) as process:
        until_there(part_of(tmp_path), 1_000_000)
        process.send_signal(signal.SIGTERM)
        hub.cdn.go.set()
        assert process.wait(30) == 143
    assert [path.name for path in (tmp_path / "hf/org/tiny").iterdir()] == [COMMIT]


def test_a_link_leads_to_the_folder_whatever_its_revision(hub: Hub, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "finetune_trainer", "fetch", SOURCE, "--cache", str(tmp_path)]
    environment = {**os.environ, "HF_ENDPOINT": hub.hub.url}
    for _ in range(2):
        done = subprocess.run([*command, "--link", str(tmp_path / "model")], env=environment, check=False, timeout=60)
        assert done.returncode == 0
    assert (tmp_path / "model").resolve() == tmp_path / "hf/org/tiny" / COMMIT
    assert (tmp_path / "model" / "config.json").is_file()


def test_two_processes_fetch_once(hub: Hub, tmp_path: Path) -> None:
    hub.cdn.holds[BIG] = 1_000_000
    with program(SOURCE, tmp_path, hub) as first, program(SOURCE, tmp_path, hub) as second:
        streams = {first.pid: first.stderr, second.pid: second.stderr}
        for process in (first, second):
            assert "asking what there is" in str(process.stderr.readline() if process.stderr else "")
        until_there(part_of(tmp_path), 1)
        said = {stream.readline().partition(": ")[2] for stream in streams.values() if stream}
        assert "another job fetches it; waiting\n" in said
        hub.cdn.go.set()
        assert (first.wait(30), second.wait(30)) == (0, 0)
        folders = {process.stdout.read().strip() for process in (first, second) if process.stdout}
    assert folders == {str(tmp_path / "hf/org/tiny" / COMMIT)}
    names = [one.file for one in (*hub.hub.asked, *hub.cdn.asked) if one.file not in ("main", BIG)]
    assert len(hub.cdn.of(BIG)) == 1
    assert sorted(names).count("config.json") == 1


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("hf://org/other", 2, "has no such model"),
        ("hf://org/tiny", 75, "does not answer as a hub does; see HF_ENDPOINT"),
    ],
)
def test_exit_codes_tell_whether_to_try_again(hub: Hub, source: str, code: int, words: str, tmp_path: Path) -> None:
    real = hub.hub.route
    hub.hub.route = lambda server, asked: Answer(200, b"{}") if "tiny" in asked.path else real(server, asked)
    with program(source, tmp_path, hub) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert words in err
    assert "Traceback" not in err
    assert out == ""


def test_too_little_room_is_told_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    small = fetch.Settings(free=lambda folder: 2_000_000)
    with pytest.raises(DiskFull, match=r"needs 3\.0 MB more, and .* has room for 2\.0 MB; make the volume larger"):
        run(SOURCE, tmp_path, at(hub), settings=small)
    assert hub.cdn.asked == []


def test_what_lies_there_needs_no_room(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir(parents=True)
    part_of(tmp_path).write_bytes(FILES[BIG][:2_000_000])
    small = fetch.Settings(free=lambda folder: 1_100_000)
    assert content(run(SOURCE, tmp_path, at(hub), settings=small)) == NEEDED


def test_a_disk_that_fills_up_is_told(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir(parents=True)
    part_of(tmp_path).symlink_to("/dev/full")  # opens, and has no room for a byte
    with pytest.raises(DiskFull, match=r"the disk of .* is full; what came stays"):
        run(SOURCE, tmp_path, at(hub))


def test_a_cache_that_is_no_folder_is_told(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "hf").write_text("a file")
    with pytest.raises(CacheUnusable, match=r"the cache .* cannot be used: "):
        run(SOURCE, tmp_path, at(hub))


def test_a_lease_that_was_lost_ends_the_fetch(hub: Hub, tmp_path: Path) -> None:
    hub.cdn.holds[BIG] = 1_000_000
    lock = tmp_path / "hf/org/tiny" / f"{COMMIT}.lock"

    def take_over(progress: Progress) -> None:
        if progress.bytes > 500_000:
            lock.write_text("another")
            hub.cdn.go.set()

    with pytest.raises(LeaseLost, match="another one fetches the model now"):
        run(SOURCE, tmp_path, at(hub), report=take_over)
    assert not (tmp_path / "hf/org/tiny" / COMMIT / "fetched.json").exists()


def test_progress_is_reported(hub: Hub, tmp_path: Path) -> None:
    said: list[Progress] = []
    hub.cdn.cuts[BIG] = [1_000_000]
    fetched = run(SOURCE, tmp_path, at(hub), report=said.append)
    assert [one.phase for one in said][:2] == ["resolving", "fetching"]
    last = said[-1]
    assert (last.phase, last.bytes, last.total_bytes) == ("done", fetched.bytes, fetched.bytes)
    assert (last.files, last.total_files) == (len(NEEDED), len(NEEDED))


def test_speed_counts_what_came_and_not_what_lay_there() -> None:
    meter = Meter(source="s", sizes={"a": 1000, "b": 500})
    meter.put("a", 400)
    assert meter.progress(10.0).bytes_per_second is None
    meter.put("a", 600)
    moment = meter.progress(12.0)
    assert (moment.bytes, moment.total_bytes, moment.bytes_per_second, moment.remaining_seconds) == (600, 1500, 100, 9)
    meter.finish("a")
    assert (meter.progress(14.0).files, meter.progress(14.0).total_files) == (1, 2)
    meter.put("b", 0)
    assert meter.progress(100.0).bytes_per_second is None


def test_lines_for_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    moment = Progress(
        phase="fetching",
        source=SOURCE,
        bytes=1_500_000_000,
        total_bytes=6_000_000_000,
        files=1,
        total_files=4,
        bytes_per_second=100e6,
        remaining_seconds=45,
    )
    assert in_words(moment) == f"{SOURCE}: 1/4 files  1.5 GB of 6.0 GB  100.0 MB/s  0:00:45 left"
    with Lines() as lines:
        lines(moment)
        lines(moment)
        lines(Progress(phase="waiting", source=SOURCE))
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_what_is_left_out_is_said(hub: Hub, tmp_path: Path) -> None:
    assert left_out(run(SOURCE, tmp_path, at(hub))) == "left out 1 files: 1 (the same weights in another format)"
