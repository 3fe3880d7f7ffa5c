"""PPO: a reward that rises, the same losses however a rollout is split, and the three kinds of reward models."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.training.runs import Workspace
from tests.training.splits import EVERY_SPLIT, assert_same, train_split, train_whole
from transformers import AutoModelForCausalLM

from finetune_trainer.model import value_head

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

ROWS = 36  # rollouts of 8, 8, 8, 8 and 4 prompts: an epoch's end is where splits usually differ
PPO: dict[str, Any] = {
    "stage": "ppo",
    "reward_model_type": "api",
    "ppo_epochs": 2,
    "max_new_tokens": 3,
    "disable_gradient_checkpointing": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "num_train_epochs": 4.0,
    "learning_rate": 3.0e-4,
}
RISING = {
    "max_steps": 20,
    "learning_rate": 5.0e-3,
    "max_new_tokens": 4,
    "ppo_epochs": 4,
}
ONE = {"max_steps": 1, "save_strategy": "no", "warmup_ratio": 0.0, "learning_rate": 1.0e-3}
LORA = {"finetuning_type": "lora", "lora_rank": 4}
THREE = {**ONE, "max_steps": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": THREE,
    "target": {**THREE, "ppo_target": 0.0},
    "buffer": {**ONE, "ppo_buffer_size": 2},
    "epochs": {**ONE, "ppo_epochs": 1},
    "norm": {**ONE, "ppo_score_norm": True},
    "whiten": {**ONE, "ppo_whiten_rewards": True},
}


@contextmanager
def judged() -> Iterator[str]:
    """A reward server that likes lower-case letters; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            answers = [text.rpartition("<|end_header_id|>")[2] for text in texts]
            scores = [10 * sum("a" <= letter <= "z" for letter in text) / max(1, len(text)) for text in answers]
            body = json.dumps({"scores": scores}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, dict[str, Any]]]:
    """Models, data, a server, and all runs on one rank but the long ones, in one process."""
    workspace = Workspace.make(tmp_path_factory.mktemp("ppo"), rows=ROWS)
    config = workspace.folder / "model" / "config.json"
    still = {**json.loads(config.read_text(encoding="utf-8")), "summary_dropout_prob": 0.0}
    config.write_text(json.dumps(still), encoding="utf-8")
    make_reward_models(workspace.folder)
    with judged() as url:
        base = {**PPO, "reward_model": url}
        workspace.run(
            *(workspace.config(name, {**base, **change}) for name, change in VARIANTS.items()),
            *(workspace.config(name, {**base, **ONE, **change}) for name, change in kept_here(workspace).items()),
            workspace.config("ppo-rising", {**base, **RISING}),
        )
        train_whole(workspace, "ppo", base)
        yield workspace, base


def make_reward_models(folder: Path) -> None:
    """A model and an adapter, each with a value head of random numbers, as stage rm leaves them."""
    torch.manual_seed(5)
    head = {"v_head.summary.weight": torch.randn(1, 64), "v_head.summary.bias": torch.zeros(1)}
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    model.save_pretrained(folder / "reward")
    settings = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, settings).save_pretrained(folder / "reward-adapter")
    for name in ("reward", "reward-adapter"):
        value_head.save(head, folder / name)


def kept_here(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The reward models that are no servers."""
    full = {"reward_model_type": "full", "reward_model": str(workspace.folder / "reward")}
    adapter = str(workspace.folder / "reward-adapter")
    return {
        "full": full,
        "full-adapters": {**full, "reward_model_adapters": adapter},
        "full-int8": {**full, "reward_model_quantization_bit": 8},
        "lora": {**LORA, "reward_model_type": "lora", "reward_model": adapter},
    }


def told(workspace: Workspace, name: str, what: str) -> list[float]:
    """A number of each step, from trainer_state.json."""
    state = json.loads((workspace.output(name) / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry[what] for entry in state["log_history"] if what in entry]


Ready = tuple[Workspace, dict[str, Any]]


@pytest.mark.shows("stage", "reward_model")
def test_the_reward_rises(workspace: Ready) -> None:
    rewards = told(workspace[0], "ppo-rising", "reward")
    print(rewards)
    assert len(rewards) == 20
    assert sum(rewards[-4:]) / 4 > 1.3 * sum(rewards[:4]) / 4, rewards


@pytest.mark.parametrize("split", EVERY_SPLIT)
def test_split(workspace: Ready, split: str) -> None:
    runs, base = workspace
    train_split(runs, "ppo", split, base)
    assert_same(runs, "ppo", split)
    whole, part = (told(runs, f"ppo-{name}", "reward") for name in ("8x1", split))
    assert part == pytest.approx(whole, abs=1e-9), "other answers were drawn"


@pytest.mark.shows("ppo_buffer_size")
def test_a_buffer_makes_rollouts_larger(workspace: Ready) -> None:
    plain, buffer = (steps_of_an_epoch(workspace[0], name) for name in ("plain", "buffer"))
    assert (round(plain), round(buffer)) == (5, 3)  # 36 prompts: 8 or 16 at a time
    assert tokens(workspace[0], "buffer") > 1.6 * tokens(workspace[0], "plain")


@pytest.mark.shows("ppo_epochs")
def test_each_epoch_learns_from_all_answers_again(workspace: Ready) -> None:
    twice, once = tokens(workspace[0], "plain"), tokens(workspace[0], "epochs")
    assert 1.9 < twice / once < 2.1


@pytest.mark.shows("ppo_score_norm", "ppo_whiten_rewards")
@pytest.mark.parametrize("name", ["norm", "whiten"])
def test_what_changes_the_losses_and_not_the_reward_that_is_told(workspace: Ready, name: str) -> None:
    runs = workspace[0]
    assert told(runs, name, "reward")[0] == told(runs, "plain", "reward")[0]
    assert abs(told(runs, name, "value_loss")[0] - told(runs, "plain", "value_loss")[0]) > 1e-3


@pytest.mark.shows("ppo_target")
def test_the_penalty_goes_by_the_target(workspace: Ready) -> None:
    divergence, penalty = (told(workspace[0], "target", what) for what in ("kl", "kl_coefficient"))
    assert divergence[1] > 0
    assert penalty[2] > penalty[1]  # more divergence than none was aimed at
    plain = told(workspace[0], "plain", "kl_coefficient")
    assert plain[2] < plain[1] < plain[0] == pytest.approx(0.2)


@pytest.mark.shows("reward_model_type", "reward_model_adapters", "reward_model_quantization_bit")
def test_every_kind_of_reward_model_scores(workspace: Ready) -> None:
    first = {name: told(workspace[0], name, "reward")[0] for name in ("plain", *kept_here(workspace[0]))}
    assert len(set(first.values())) >= 4, first
    assert first["full-int8"] == pytest.approx(first["full"], rel=0.1)
    assert first["full-int8"] != first["full"]
    # The base under an adapter is what both are made of, and the same head lies with it.
    assert first["lora"] == pytest.approx(first["full-adapters"], rel=1e-4)


def test_an_adapter_is_saved_with_its_head_alone(workspace: Ready) -> None:
    saved = workspace[0].output("lora")
    assert (saved / "adapter_model.safetensors").exists()
    assert (saved / value_head.FILE).exists()
    assert not (saved / "model.safetensors").exists()


def test_a_server_that_is_not_there_is_one_line(workspace: Ready) -> None:
    runs, base = workspace
    config = runs.config("down", {**base, **ONE, "reward_model": "http://127.0.0.1:9/"})
    done = runs.run(config, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RewardServerDown: reward_model: no answer from http://127.0.0.1:9/: ")
    assert "Traceback" not in done.stderr


def steps_of_an_epoch(workspace: Workspace, name: str) -> float:
    """From the part of an epoch that the first step is."""
    lines = (workspace.output(name) / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return float(1 / json.loads(lines[0])["epoch"])


def tokens(workspace: Workspace, name: str) -> int:
    """Learned from in the first step, again at each pass."""
    lines = (workspace.output(name) / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return int(json.loads(lines[0])["total_tokens"])
