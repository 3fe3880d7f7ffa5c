import json
from pathlib import Path

from PIL import Image
from transformers import TrainerControl, TrainerState, TrainingArguments

from finetune_trainer import config
from finetune_trainer.artifacts import TrainerLog, card, plot
from finetune_trainer.artifacts.trainer_log import upto
from finetune_trainer.context import Place, RunContext
from finetune_trainer.distributed import World
from finetune_trainer.progress import Reporter


def test_a_resumed_run_keeps_the_log_up_to_its_checkpoint() -> None:
    lines = [json.dumps({"current_steps": step}) for step in (1, 2, 3)]
    assert upto([*lines, '{"current_st'], 2) == lines[:2]


def test_smoothing_has_no_lag() -> None:
    line = [10 - 0.05 * step for step in range(100)]
    assert max(abs(a - b) for a, b in zip(plot.smooth(line)[:-8], line[:-8], strict=True)) < 1e-9
    assert abs(plot.smooth(line)[-1] - line[-1]) < 0.15
    noisy = [value + (-1) ** step for step, value in enumerate(line)]
    inner = list(zip(plot.smooth(noisy), line, strict=True))[10:-10]
    assert max(abs(a - b) for a, b in inner) < 0.1


def test_every_curve_is_drawn_under_llamafactorys_name(tmp_path: Path) -> None:
    told = {"loss": 3.0, "reward": 0.1, "rewards/accuracies": 0.5, "rewards/chosen": 0.2, "grad_norm": 1.0, "epoch": 1}
    history = [{"step": step, **{name: value - step / 10 for name, value in told.items()}} for step in range(1, 11)]
    history += [{"step": 10, "eval_loss": 2.0, "eval_accuracy": 0.5, "eval_dev_loss": 1.0, "eval_runtime": 3.0}]
    pictures = plot.draw(history, tmp_path)
    assert {picture.name for picture in pictures} == {
        "training_loss.png",
        "training_reward.png",
        "training_rewards_accuracies.png",
        "training_rewards_chosen.png",
        "training_eval_loss.png",
        "training_eval_accuracy.png",
        "training_eval_dev_loss.png",
    }
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.width > 1000


def test_lines_hold_llamafactorys_keys(tmp_path: Path) -> None:
    quiet = Reporter(RunContext(output_dir=tmp_path, place=Place()), World(rank=1))
    log, control = TrainerLog(tmp_path, quiet), TrainerControl()
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    state = TrainerState(global_step=3, max_steps=4, epoch=0.5, num_input_tokens_seen=70)
    for told in (
        {"loss": 1.5, "learning_rate": 1e-4, "grad_norm": 2.0, "rewards/accuracies": 0.75},
        {"reward": 0.5},
        {"eval_dev_loss": 2.5, "eval_runtime": 1.0},
        {"predict_loss": 3.5},
        {"train_runtime": 9.0},
    ):
        log.on_log(args, state, control, told)
    lines = [json.loads(line) for line in (tmp_path / "trainer_log.jsonl").read_text().splitlines()]
    common = {"current_steps": 3, "total_steps": 4, "epoch": 0.5, "percentage": 75.0, "elapsed_time": "0:00:00"}
    assert lines[0] == {
        **common, "loss": 1.5, "accuracy": 0.75, "lr": 1e-4, "grad_norm": 2.0, "total_tokens": 70,
    }  # fmt: skip
    assert [{*line} - {*common, "total_tokens"} for line in lines[1:]] == [
        {"reward"},
        {"eval_dev_loss"},
        {"predict_loss"},
    ]


def test_the_card_names_base_data_and_method() -> None:
    cfg = config.parse(
        {
            "do_train": True,
            "model_name_or_path": "org/base-1b",
            "dataset": "identity,alpaca",
            "template": "qwen",
            "output_dir": "saves",
            "lora_rank": 16,
            "gradient_accumulation_steps": 4,
            "per_device_train_batch_size": 2,
        }
    )
    text = card.write(cfg, world_size=2, metrics={"train_loss": 1.23456789})
    assert "base_model: org/base-1b" in text
    assert "trained on identity, alpaca (sft, LoRA, rank 16)" in text
    assert "| global batch | 16 |" in text
    assert "| train_loss | 1.23457 |" in text
