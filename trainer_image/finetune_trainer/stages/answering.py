"""A trainer that evaluates by what the model answers: predict_with_generate, and prediction at a run's end."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, cast

from transformers.trainer_utils import speed_metrics

from finetune_trainer import predict, template
from finetune_trainer.collate import Collate
from finetune_trainer.config import TrainConfig
from finetune_trainer.stages.objective import Objective
from finetune_trainer.stages.order import Order
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.trainer import GlobalTrainer


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What became of one data set's rows."""

    answers: list[predict.Answer]
    metrics: dict[str, float]


class AnsweringTrainer(GlobalTrainer):
    """Trains as any, evaluates by generating: BLEU and ROUGE in place of the loss, as in LLaMA-Factory."""

    def __init__(
        self, cfg: TrainConfig, parts: Parts, *, objective: Objective, collator: Collate, order: Order
    ) -> None:
        """Raises RunError: a package that scores is missing."""
        predict.check_installed()
        super().__init__(parts, objective=objective, collator=collator, order=order)
        self._writer = _writer(cfg, parts)
        self._tokenizer = parts.tokenizer

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ANN401 - as transformers has it
        ignore_keys: list[str] | None = None,  # noqa: ARG002 - as transformers has it
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Answer every row held out; metrics of each data set by its name."""
        rows: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, dict):
            named = {f"{metric_key_prefix}_{name}": each for name, each in rows.items()}
            told = [self.evaluate(each, None, prefix) for prefix, each in named.items()]
            return {key: value for metrics in told for key, value in metrics.items()}
        metrics = self.answer(rows, metric_key_prefix).metrics
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def answer(self, rows: Any, prefix: str) -> Predictions:  # noqa: ANN401 - a data set
        """Answer every row; all ranks share them, and all get all answers."""
        begun = time.time()
        model: Any = self.model
        model.eval()
        if callable(getattr(self.optimizer, "eval", None)):
            cast("Any", self.optimizer).eval()  # schedule-free optimisers keep other weights for asking
        with self.accelerator.autocast():
            answers = self._writer.answers(model, rows)
        found = predict.scores(
            self.texts([each.predicted for each in answers]), self.texts([each.label for each in answers])
        )
        steps = math.ceil(len(answers) / (self._writer.batch_size * self._world.size))
        times = speed_metrics(prefix, begun, num_samples=len(answers), num_steps=steps)  # type: ignore[no-untyped-call]
        return Predictions(
            answers=answers, metrics={**{f"{prefix}_{name}": score for name, score in found.items()}, **times}
        )

    def predictions(self, *, skip_special_tokens: bool) -> tuple[dict[str, list[dict[str, str]]], dict[str, float]]:
        """Answer every row held out: texts by data sets' names ('' for one without), and all metrics."""
        found: Any = self.eval_dataset
        rows: dict[str, list[dict[str, str]]] = {}
        metrics: dict[str, float] = {}
        for name, each in (found if isinstance(found, dict) else {"": found}).items():
            made = self.answer(each, f"predict_{name}" if name else "predict")
            metrics |= made.metrics
            prompts = self.texts([one.prompt for one in made.answers], skip_special_tokens=False)
            mine = self.texts([one.predicted for one in made.answers], skip_special_tokens=skip_special_tokens)
            theirs = self.texts([one.label for one in made.answers], skip_special_tokens=skip_special_tokens)
            rows[name] = [
                {"prompt": prompt, "predict": predicted, "label": label}
                for prompt, predicted, label in zip(prompts, mine, theirs, strict=True)
            ]
        return rows, metrics

    def texts(self, ids: list[tuple[int, ...]], *, skip_special_tokens: bool = True) -> list[str]:
        """Decode rows."""
        return [str(self._tokenizer.decode(list(row), skip_special_tokens=skip_special_tokens)) for row in ids]


def _writer(cfg: TrainConfig, parts: Parts) -> predict.Writer:
    tokenizer, model = parts.tokenizer, cast("Any", parts.model)
    pad = tokenizer.pad_token_id
    assert isinstance(pad, int), "the template's fix-ups have set it"
    stops = template.stop_token_ids(tokenizer, parts.data.recipe.template)
    return predict.Writer(
        config=predict.settings(cfg, base=model.generation_config, stop_ids=stops, pad_id=pad),
        limits=predict.limits(cfg),
        world=parts.world,
        batch_size=parts.arguments.per_device_eval_batch_size,
        seed=parts.arguments.seed,
    )
