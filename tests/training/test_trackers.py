"""Trackers, profilers, logs and pictures of real tiny runs, read back with each tool's own reader."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.training.runs import Workspace
from tests.training.wandb_file import records

from finetune_trainer import context, failures, trackers
from finetune_trainer.config import parse

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

SECRETS = {"HF_TOKEN": "hf_hush1", "SWANLAB_LARK_SECRET": "larkhush2", "WANDB_API_KEY": "w" * 37 + "sh3"}
BOARDS: dict[str, Any] = {
    "report_to": "tensorboard,mlflow", "run_name": "my run", "max_steps": 4, "val_size": 8, "eval_strategy": "steps",
    "eval_steps": 2, "do_eval": True, "plot_loss": True, "include_num_input_tokens_seen": True,
    "include_tokens_per_second": True,
}  # fmt: skip
WANDB: dict[str, Any] = {
    "report_to": ["wandb"], "run_name": "w run", "max_steps": 3, "include_num_input_tokens_seen": "non_padding",
    "include_effective_tokens_per_second": True, "skip_memory_metrics": False, "print_param_status": True,
    "profile_modules": "model.layers.*.mlp", "log_level": "info",
}  # fmt: skip
PROFILED: dict[str, Any] = {
    "max_steps": 5, "enable_torch_profiler": True, "profiler_wait_steps": 0, "profiler_warmup_steps": 1,
    "profiler_active_steps": 1, "profiler_repeat": 2, "profiler_record_shapes": False, "profiler_with_stack": False,
    "profiler_profile_memory": False, "logging_steps": 2, "logging_first_step": True,
}  # fmt: skip
SWAN: dict[str, Any] = {
    "use_swanlab": True, "swanlab_mode": "local", "swanlab_project": "lake", "swanlab_run_name": "s run",
    "swanlab_workspace": "us", "max_steps": 3, "enable_torch_profiler": True,
}  # fmt: skip


class Lark(HTTPServer):
    """Lark's robot: keeps what is posted to it."""

    posts: list[dict[str, Any]]


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Lark)
        self.server.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"code": 0}')

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture(scope="module")
def lark() -> Iterator[Lark]:
    server = Lark(("127.0.0.1", 0), _Post)
    server.posts = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, lark: Lark) -> tuple[Workspace, str]:
    """All runs in one process, and what they printed. The last one is fed weights that are not numbers."""
    workspace = Workspace.make(tmp_path_factory.mktemp("trackers"), rows=40)
    broken = workspace.folder / "broken"
    broken.mkdir()
    for file in (workspace.folder / "model").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = torch.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    done = workspace.run(
        workspace.config("boards", {**BOARDS, "logging_dir": str(workspace.folder / "tb")}),
        workspace.config("wandb", WANDB),
        workspace.config("profiled", {**PROFILED, "profiler_output_dir": str(workspace.folder / "traces")}),
        workspace.config("swan", {**SWAN, "swanlab_logdir": str(workspace.folder / "swan")}),
        workspace.config("debug", {"model_name_or_path": str(broken), "max_steps": 2, "debug": "underflow_overflow"}),
        environment={
            **SECRETS,
            "WANDB_MODE": "offline",
            "SWANLAB_LARK_WEBHOOK_URL": f"http://127.0.0.1:{lark.server_port}/hook",
        },
        check=False,
    )
    return workspace, done.stdout + done.stderr


def results(workspace: Workspace, name: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((workspace.output(name) / "train_results.json").read_text())
    return made


@pytest.mark.shows("report_to", "logging_dir")
def test_tensorboard_reads_its_files(runs: tuple[Workspace, str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    workspace, _ = runs
    read = EventAccumulator(str(workspace.folder / "tb"))
    read.Reload()
    assert {event.step: pytest.approx(event.value, rel=1e-6) for event in read.Scalars("train/loss")} == (
        workspace.losses("boards")
    )
    assert [event.step for event in read.Scalars("eval/loss")] == [2, 4, 4], "the last one after training, as do_eval"
    assert b"learning_rate" in read.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
    assert not (workspace.output("boards") / "runs").exists()


def test_mlflow_reads_its_folder(runs: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    workspace, _ = runs
    client = MlflowClient((workspace.output("boards") / "mlruns").as_uri())
    (run,) = client.search_runs(["0"])
    assert (run.info.run_name, run.info.status) == ("my run", "FINISHED")
    read = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "loss")}
    assert read == pytest.approx(workspace.losses("boards"))
    assert "eval_loss" in run.data.metrics
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["config.json"]


@pytest.mark.shows("run_name")
def test_wandb_reads_its_offline_run(runs: tuple[Workspace, str]) -> None:
    workspace, printed = runs
    (file,) = (workspace.output("wandb") / "wandb").glob("offline-run-*/*.wandb")
    read = list(records(file))
    names = {record.run.display_name for record in read if record.HasField("run")}
    projects = {record.run.project for record in read if record.HasField("run")}
    losses = [
        json.loads(item.value_json)
        for record in read
        for item in record.history.item
        if "train/loss" in (item.key, *item.nested_key)
    ]
    assert (names, projects) == ({"w run"}, {"llamafactory"})
    assert losses == pytest.approx(list(workspace.losses("wandb").values()))
    assert "w run: sft full: 40 rows" in printed, "the name stands in our own lines too"
    assert "\nsft full: 40 rows" in printed


@pytest.mark.shows(
    "use_swanlab", "swanlab_project", "swanlab_run_name", "swanlab_mode", "swanlab_logdir", "swanlab_workspace"
)
def test_swanlab_keeps_its_run_here(runs: tuple[Workspace, str], lark: Lark) -> None:
    workspace, _ = runs
    public = json.loads((workspace.output("swan") / "swanlab_public_config.json").read_text())
    (folder,) = (workspace.folder / "swan").glob(f"run-*-{public['id']}")
    settings = yaml.safe_load((folder / "files" / "config.yaml").read_text())
    assert settings["learning_rate"]["value"] == 3.0e-3
    (file,) = folder.glob("*.swanlab")
    content = file.read_bytes()
    assert all(word in content for word in (b"lake", b"s run", b"us", b"train/loss"))
    assert [post["msg_type"] for post in lark.posts] == ["text"], "one notice, at the end"
    assert lark.posts[0]["sign"], "signed with the secret of the environment"


def test_no_secret_reaches_a_tracker_or_the_output(runs: tuple[Workspace, str]) -> None:
    workspace, printed = runs
    secrets = [secret.encode() for secret in SECRETS.values()]
    for file in workspace.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [secret for secret in secrets if secret in content], file
    assert not [secret for secret in SECRETS.values() if secret in printed]


@pytest.mark.shows("include_num_input_tokens_seen", "include_tokens_per_second", "include_effective_tokens_per_second")
def test_tokens_are_counted_as_asked(runs: tuple[Workspace, str]) -> None:
    workspace, _ = runs
    told = {name: results(workspace, name) for name in ("boards", "wandb", "profiled")}
    state = json.loads((workspace.output("wandb") / "trainer_state.json").read_text())
    seen = [entry["num_input_tokens_seen"] for entry in state["log_history"] if "loss" in entry]
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] == state["num_input_tokens_seen"]
    assert "num_input_tokens_seen" not in told["profiled"]
    rows = json.loads((workspace.output("boards") / "trainer_state.json").read_text())["num_input_tokens_seen"]
    assert rows % 8 == 0, "whole batches of 8 rows with their padding"
    assert told["boards"]["train_tokens_per_second"] == pytest.approx(rows / told["boards"]["train_runtime"], rel=0.01)
    effective = seen[-1] / told["wandb"]["train_runtime"]
    assert told["wandb"]["effective_tokens_per_sec"] == pytest.approx(effective, rel=0.01)
    assert not {"train_tokens_per_second", "effective_tokens_per_sec"} & told["profiled"].keys()


@pytest.mark.shows("skip_memory_metrics", "print_param_status", "log_level")
def test_what_is_told_beside(runs: tuple[Workspace, str]) -> None:
    workspace, printed = runs
    assert "train_mem_cpu_alloc_delta" in results(workspace, "wandb")
    assert "train_mem_cpu_alloc_delta" not in results(workspace, "boards")
    weights = re.findall(r"name: (\S+), dtype: torch.float32, device: cpu, trainable: True", printed)
    assert len(weights) == len(set(weights)) > 10, "of the one run that asked for it"
    assert printed.count("***** Running training *****") == 1, "transformers' own lines, of the one run with log_level"


@pytest.mark.shows(
    "enable_torch_profiler",
    "profiler_output_dir",
    "profiler_wait_steps",
    "profiler_warmup_steps",
    "profiler_active_steps",
    "profiler_repeat",
    "profiler_record_shapes",
    "profiler_profile_memory",
    "profiler_with_stack",
)
def test_the_profiler_writes_what_was_asked_for(runs: tuple[Workspace, str]) -> None:
    workspace, _ = runs
    two = sorted((workspace.folder / "traces" / "rank_0").glob("*.json*"))
    one = sorted((workspace.output("swan") / "profiler" / "rank_0").glob("*.json*"))
    assert (len(two), len(one)) == (2, 1), "repeat 2 of 1 + 1 steps in 5; wait 1, warm up 1, record 1 in 3"
    assert not (workspace.output("profiled") / "profiler").exists()
    plain, full = json.loads(two[0].read_text()), json.loads(one[0].read_text())
    assert all(any(event.get("name") == "aten::mm" for event in trace["traceEvents"]) for trace in (plain, full))
    for mark in ("Input Dims", "Python id", "[memory]"):
        assert mark in one[0].read_text()
        assert mark not in two[0].read_text()


@pytest.mark.shows("profile_modules")
def test_modules_are_timed(runs: tuple[Workspace, str]) -> None:
    workspace, _ = runs
    lines = (workspace.output("wandb") / "profiler" / "modules_rank_0.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        modules = json.loads(line)["modules"]
        assert modules.keys() == {"model.layers.0.mlp", "model.layers.1.mlp"}
        assert all(times["forward_ms"] > 0 < times["backward_ms"] for times in modules.values())


@pytest.mark.shows("logging_steps", "logging_first_step", "plot_loss")
def test_lines_and_pictures(runs: tuple[Workspace, str]) -> None:
    workspace, _ = runs
    assert list(workspace.losses("profiled")) == [1, 2, 4, 5], "the first, every second, and always the last"
    assert list(workspace.losses("boards")) == [1, 2, 3, 4]
    line = json.loads((workspace.output("boards") / "trainer_log.jsonl").read_text().splitlines()[0])
    assert line.keys() == {
        "current_steps", "total_steps", "loss", "lr", "grad_norm", "epoch", "percentage", "elapsed_time",
        "remaining_time", "throughput", "total_tokens",
    }  # fmt: skip
    pictures = {path.name for path in workspace.output("boards").glob("*.png")}
    assert pictures == {"training_loss.png", "training_eval_loss.png"}
    with Image.open(workspace.output("boards") / "training_loss.png") as image:
        assert image.width > 1000
    assert not list(workspace.output("swan").glob("*.png"))


@pytest.mark.shows("debug")
def test_debug_shows_where_the_first_nan_is(runs: tuple[Workspace, str]) -> None:
    _, printed = runs
    assert "Detected inf/nan during batch_number=0" in printed
    assert "model.layers.1.mlp.down_proj" in printed


@pytest.mark.shows("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")
def test_a_tracker_that_is_not_installed_is_told_before_the_model_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_trainer.train import train

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = {
        "model_name_or_path": str(tmp_path / "none"), "output_dir": str(tmp_path / "out"), "dataset": "nothing",
        "template": "llama3", "report_to": "trackio", "project": "mine", "use_cpu": True,
        "trackio_space_id": "us/board", "trackio_bucket_id": "us/bucket", "trackio_static_space_id": "us/static",
    }  # fmt: skip
    cfg = parse(said)
    with pytest.raises(SystemExit):
        train(cfg, context.of_hand(cfg, {}))
    assert capsys.readouterr().err == "ConfigInvalid: report_to: trackio not installed here: pip install trackio\n"
    with pytest.raises(failures.RunError, match="pip install trackio"):
        trackers.require(cfg)
