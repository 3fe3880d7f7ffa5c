"""The loss of stage dpo, key by key, against LLaMA-Factory's formulas written out on whole logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_model import make_tiny_model
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel

from finetune_trainer.collate import Batch, PairCollator
from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.distributed import World
from finetune_trainer.model import Reference
from finetune_trainer.stages.baseline import Baseline
from finetune_trainer.stages.dpo import PairLoss
from finetune_trainer.stages.objective import Meter

COLLATE = PairCollator(pad_token_id=0)


def pair(seed: int, chosen: int, rejected: int) -> dict[str, Any]:
    """A prompt of four tokens and two answers of so many."""
    draw = torch.Generator().manual_seed(seed)
    row: dict[str, Any] = {}
    for side, length in (("chosen", chosen), ("rejected", rejected)):
        ids = torch.randint(5, 900, (4 + length,), generator=draw).tolist()
        row |= {f"{side}_input_ids": ids, f"{side}_labels": [-100] * 4 + ids[4:]}
    return row


ROWS = [pair(1, 3, 6), pair(2, 8, 2), pair(3, 1, 1), pair(4, 5, 9)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A model to train and another one to stay near."""
    folder = tmp_path_factory.mktemp("models")
    loaded = [load(make_tiny_model(folder / str(seed), seed=seed)) for seed in (0, 1)]
    return loaded[0], loaded[1]


def load(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model


def made(models: Sequence[PreTrainedModel], **keys: Any) -> PairLoss:
    alone = keys.get("pref_loss") in ("orpo", "simpo")
    held = None if alone else Reference(models[1], trained=models[0])
    return PairLoss(models[0], FinetuningGroup(stage="dpo", **keys), held, Baseline())


def step(models: Sequence[PreTrainedModel], batches: Sequence[Batch], **keys: Any) -> float:
    """The loss of one global batch."""
    objective = made(models, **keys)
    if objective.looks_ahead:
        with torch.no_grad():
            objective.prepare(models[0], batches, World())
    items = torch.tensor(float(sum(objective.items(batch) for batch in batches)))
    return sum(float(objective.loss(models[0], batch, items)) for batch in batches)


def expected(models: Sequence[PreTrainedModel], **keys: Any) -> float:
    """LLaMA-Factory's loss of ROWS as one batch, from train/dpo/trainer.py and trl's dpo_loss, written anew."""
    said = FinetuningGroup(stage="dpo", **keys)
    beta, mean = said.pref_beta, said.pref_loss in ("ipo", "orpo", "simpo")
    scores: dict[str, list[torch.Tensor]] = {}
    for row in ROWS:
        shorter = min(len(row["chosen_labels"]), len(row["rejected_labels"])) - 4
        for side in ("chosen", "rejected"):
            ids = torch.tensor([row[f"{side}_input_ids"]])
            for name, model in (("policy", models[0]), ("held", models[1])):
                with torch.no_grad():
                    logps = model(input_ids=ids).logits[0, 3:-1].log_softmax(-1).gather(1, ids[0, 4:, None])[:, 0]
                scores.setdefault(f"plain {name} {side}", []).append(-logps.mean())
                if name == "policy" and said.ld_alpha is not None:
                    logps = torch.cat([logps[:shorter], said.ld_alpha * logps[shorter:]])
                scores.setdefault(f"{name} {side}", []).append(logps.mean() if mean else logps.sum())
    value = {name: torch.stack(values) for name, values in scores.items()}
    chosen, rejected = value["policy chosen"], value["policy rejected"]
    above, below = chosen - value["held chosen"], rejected - value["held rejected"]
    sigmoid = functional.logsigmoid
    losses = {
        "sigmoid": -sigmoid(beta * (above - below)) * (1 - said.dpo_label_smoothing)
        - sigmoid(-beta * (above - below)) * said.dpo_label_smoothing,
        "hinge": (1 - beta * (above - below)).clamp(min=0),
        "ipo": (above - below - 1 / (2 * beta)) ** 2,
        "kto_pair": 1
        - torch.sigmoid(beta * (above - below.mean().clamp(min=0))) / 2
        - torch.sigmoid(beta * (above.mean().clamp(min=0) - below)) / 2,
        "orpo": -chosen
        - beta * sigmoid(chosen - rejected - torch.log1p(-chosen.exp()) + torch.log1p(-rejected.exp())),
        "simpo": -sigmoid(beta * (chosen - rejected - said.simpo_gamma / beta)),
    }[said.pref_loss]
    if said.pref_bco_weight:
        level = torch.cat([beta * above, beta * below]).mean()
        bco = -sigmoid(beta * above - level) - sigmoid(level - beta * below)
        losses = (losses + bco * said.pref_bco_weight) / (1 + said.pref_bco_weight)
    return float((losses + said.pref_ftx * value["plain policy chosen"]).mean())


KEYS: list[dict[str, Any]] = [
    {},
    {"pref_beta": 0.5},
    {"pref_ftx": 0.5},
    {"pref_bco_weight": 0.5},
    {"dpo_label_smoothing": 0.25},
    {"ld_alpha": 0.5},
    {"ld_alpha": 0.5, "pref_ftx": 0.5},
    {"pref_loss": "hinge"},
    {"pref_loss": "ipo"},
    {"pref_loss": "kto_pair"},
    {"pref_loss": "orpo"},
    {"pref_loss": "simpo"},
    {"pref_loss": "simpo", "simpo_gamma": 2.0},
]


@pytest.mark.shows(
    "pref_loss", "pref_beta", "pref_ftx", "pref_bco_weight", "dpo_label_smoothing", "ld_alpha", "simpo_gamma"
)
@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_each_key_is_in_the_loss(models: Sequence[PreTrainedModel], keys: dict[str, Any]) -> None:
    assert step(models, [COLLATE(ROWS)], **keys) == pytest.approx(expected(models, **keys), rel=1e-5)


def test_no_two_settings_have_the_same_loss(models: Sequence[PreTrainedModel]) -> None:
    losses = [round(step(models, [COLLATE(ROWS)], **keys), 4) for keys in KEYS]
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_it_does_not_matter_how_a_batch_is_split(models: Sequence[PreTrainedModel], keys: dict[str, Any]) -> None:
    blank = {**ROWS[0], "chosen_labels": [-100] * 7, "rejected_labels": [-100] * 10, "weight": 0}
    split = [COLLATE(ROWS[:3]), COLLATE([ROWS[3], blank])]
    assert step(models, split, **keys) == pytest.approx(step(models, [COLLATE(ROWS)], **keys), rel=1e-5)


@pytest.mark.parametrize("keys", [{}, {"pref_loss": "orpo"}, {"pref_bco_weight": 1.0}], ids=str)
def test_a_pair_with_an_answer_cut_to_nothing_is_left_out(
    models: Sequence[PreTrainedModel], keys: dict[str, Any]
) -> None:
    cut = {**ROWS[1], "rejected_labels": [-100] * 6}
    assert step(models, [COLLATE([*ROWS, cut])], **keys) == pytest.approx(
        step(models, [COLLATE(ROWS)], **keys), rel=1e-5
    )
    objective = made(models, **keys)
    alone = objective.loss(models[0], COLLATE([cut]), torch.ones(()))
    alone.backward()  # type: ignore[no-untyped-call]
    assert objective.items(COLLATE([cut])) == 0
    assert float(alone) == 0


def test_the_running_mean_moves_in_training_alone(models: Sequence[PreTrainedModel]) -> None:
    objective = made(models, pref_bco_weight=0.5)
    baseline = objective._baseline
    with torch.no_grad():
        objective.prepare(models[0], [COLLATE(ROWS[:2])], World())
        first = baseline.mean
        trained, objective.meter = objective.meter, Meter()
        objective.prepare(models[0], [COLLATE(ROWS[2:])], World())
        assert (baseline.mean, baseline.batches) == (first, 1)
        objective.meter = trained
        objective.prepare(models[0], [COLLATE(ROWS[2:])], World())
    assert baseline.batches == 2
    assert baseline.mean != first


def test_what_is_told_of_pairs(models: Sequence[PreTrainedModel]) -> None:
    objective = made(models, pref_ftx=0.5)
    objective.loss(models[0], COLLATE(ROWS), torch.tensor(4.0))
    told = objective.meter.take(World())
    assert set(told) == {
        *("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins"),
        *("logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected", "sft_loss"),
    }
    assert told["rewards/margins"] == pytest.approx(told["rewards/chosen"] - told["rewards/rejected"])
