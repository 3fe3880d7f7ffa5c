import json
from pathlib import Path

from PIL import Image

from finetune_trainer import config
from finetune_trainer.artifacts import card, plot
from finetune_trainer.artifacts.trainer_log import upto


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


def test_every_curve_with_points_is_drawn(tmp_path: Path) -> None:
    history = [{"step": step, "loss": 3.0 - step / 10} for step in range(1, 11)] + [{"step": 10, "eval_loss": 2.0}]
    (picture,) = plot.draw(history, tmp_path)
    assert picture == tmp_path / "training_loss.png"
    with Image.open(picture) as image:
        assert image.width > 1000


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
