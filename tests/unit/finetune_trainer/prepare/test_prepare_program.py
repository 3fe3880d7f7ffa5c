"""`finetune prepare` as a process: a model from a hub, its size, the data as tokens, and every way to fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.tiny_model import make_rows, make_tiny_model
from tests.unit.finetune_trainer.fetch.serving import COMMIT, Answer, Hub, say

from finetune_trainer import records
from finetune_trainer.records import EXIT_AGAIN, EXIT_LASTING, Preparation, PrepareSpec, Progress, RunSpec

WEIGHTS = "model.safetensors"
TRAIN = {
    "model_name_or_path": "org/tiny",
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "full",
    "template": "llama3",
    "dataset": "words",
    "cutoff_len": 128,
    "output_dir": "unused",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = make_tiny_model(tmp_path_factory.mktemp("tiny"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[Hub]:
    with Hub(dict(files)).up() as up:
        yield up


class Pod:
    """A preparation's pod on this machine."""

    def __init__(self, root: Path, hub: Hub) -> None:
        self.root, self.hub = root, hub
        self.cache = root / "models"
        (root / "config").mkdir()
        (root / "words.json").write_text(json.dumps(make_rows(12)), encoding="utf-8")
        self.configure()

    def configure(self, *, gpu_memory: str | None = None, source: str | None = "hf://org/tiny", **train: Any) -> None:
        """The files that the operator writes."""
        wanted = PrepareSpec(source=source, cache=str(self.cache), data=True, gpu_memory=gpu_memory)
        said = {**TRAIN, "dataset_dir": str(self.root / "config"), **train}
        config = self.root / "config"
        (config / records.PREPARE_FILE).write_text(wanted.to_json(), encoding="utf-8")
        (config / records.RUN_FILE).write_text(run(self.root).to_json(), encoding="utf-8")
        (config / records.TRAIN_FILE).write_text(yaml.safe_dump(said), encoding="utf-8")
        info = {"words": {"file_name": str(self.root / "words.json")}}
        (config / records.DATASET_INFO_FILE).write_text(json.dumps(info), encoding="utf-8")

    def start(self) -> subprocess.Popen[str]:
        """Process 1."""
        variables = {
            "HF_ENDPOINT": self.hub.hub.url,
            "HF_HOME": str(self.cache / "huggingface"),
            records.ENV_CONFIG_DIR: str(self.root / "config"),
            records.ENV_RUN_DIR: str(self.root / "run"),
            records.ENV_TERMINATION_LOG: str(self.root / "message"),
        }
        command = [sys.executable, "-m", "finetune_trainer", "prepare"]
        return subprocess.Popen(command, env={**os.environ, **variables}, stderr=subprocess.PIPE, text=True)

    def run(self) -> tuple[int, Preparation, str]:
        """To its end: exit code, what it left, what it said."""
        process = self.start()
        _, said = process.communicate(timeout=100)
        return process.returncode, Preparation.from_json((self.root / "message").read_text(encoding="utf-8")), said

    @property
    def tokens(self) -> list[Path]:
        """The parts that were made."""
        return sorted((self.cache / "huggingface").rglob("*.arrow"))


def run(root: Path) -> RunSpec:
    return RunSpec(
        contract=records.CONTRACT_VERSION,
        namespace="team",
        job="demo",
        uid="1",
        spec_hash="1",
        nodes=1,
        processes_per_node=1,
        launcher="torchrun",
        output_dir=str(root / "output"),
        overwrite_output_dir=False,
        hang_timeout_seconds=60,
        grace_seconds=60,
        gpus_per_node=1,
    )


@pytest.fixture
def pod(tmp_path: Path, hub: Hub) -> Pod:
    return Pod(tmp_path, hub)


def test_model_size_and_tokens_are_there_before_a_gpu_is_taken(pod: Pod) -> None:
    code, found, said = pod.run()
    assert (code, found.result) == (0, "succeeded"), said
    assert found.model == str(pod.cache / "hf" / "org" / "tiny" / COMMIT)
    assert (Path(found.model) / WEIGHTS).is_file()
    assert (found.data, found.rows, found.fits, found.instead) == (True, 12, None, "")
    assert found.parameters is not None
    assert 100_000 < found.parameters < 100_000_000
    assert (found.tokens or 0) > 12
    assert "12 rows" in found.message
    assert pod.tokens
    progress = Progress.from_json((pod.root / "run" / records.PROGRESS_FILE).read_text(encoding="utf-8"))
    assert progress.phase == "data"


def test_the_second_preparation_fetches_nothing_and_makes_no_tokens(pod: Pod) -> None:
    first = pod.run()[1]
    made = {path: path.stat().st_mtime_ns for path in pod.tokens}
    pod.hub.cdn.asked.clear()
    code, found, _ = pod.run()
    assert (code, found) == (0, first)
    assert [one for one in pod.hub.cdn.asked if one.method == "GET"] == []
    assert {path: path.stat().st_mtime_ns for path in pod.tokens} == made


def test_what_does_not_fit_is_told_with_what_would(pod: Pod) -> None:
    pod.configure(gpu_memory="1300Mi", per_device_train_batch_size=64, cutoff_len=4096)
    _, found, said = pod.run()
    assert (found.result, found.fits) == ("succeeded", False), said
    assert "does not fit" in found.message
    assert found.instead.startswith(("this fits", "no plan fits"))
    assert found.memory is not None
    assert found.memory > 1300 << 20


def test_a_model_that_is_nowhere_ends_for_good(pod: Pod) -> None:
    pod.configure(source="hf://org/nowhere")
    code, found, _ = pod.run()
    assert (code, found.reason, found.retryable) == (EXIT_LASTING, "ModelNotFound", False)
    assert "hf://org/nowhere" in found.message


def test_bad_data_end_for_good_before_a_gpu_is_taken(pod: Pod) -> None:
    (pod.root / "words.json").unlink()
    code, found, said = pod.run()
    assert (code, found.reason) == (EXIT_LASTING, "DataInvalid")
    assert "words.json" in found.message
    assert "Traceback" not in said


@pytest.mark.slow  # it is asked five times, with pauses
def test_a_hub_that_goes_away_is_asked_again_by_the_next_pod(pod: Pod, files: dict[str, bytes]) -> None:
    pod.hub.hub.route = lambda _server, _asked: say(503, {"error": "away"}, Retry_After="0")
    code, found, _ = pod.run()
    assert (code, found.reason, found.retryable) == (EXIT_AGAIN, "SourceDown", True)


def test_a_preparation_that_is_stopped_keeps_what_came(pod: Pod) -> None:
    pod.hub.cdn.holds[WEIGHTS] = 400_000
    process = pod.start()
    partial = pod.cache / "hf" / "org" / "tiny" / COMMIT / f"{WEIGHTS}.incomplete"
    deadline = time.monotonic() + 60
    while not partial.exists() or partial.stat().st_size < 1 << 17:
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    pod.hub.cdn.go.set()
    process.communicate(timeout=60)
    assert process.returncode == 143
    pod.hub.cdn.asked.clear()
    assert pod.run()[0] == 0
    asked = pod.hub.cdn.of(WEIGHTS)
    assert [one.range is not None for one in asked] == [True], "it goes on where it ended"


def test_a_server_that_sends_something_else_is_refused(pod: Pod, files: dict[str, bytes]) -> None:
    route = pod.hub.cdn.route

    def lying(server: Any, asked: Any) -> Answer:
        answer = route(server, asked)
        if asked.file == WEIGHTS:
            return Answer(answer.status, bytes(len(answer.body)), answer.headers, answer.is_file)
        return answer

    pod.hub.cdn.route = lying
    code, found, _ = pod.run()
    assert (code, found.reason) == (EXIT_LASTING, "ChecksumWrong")
