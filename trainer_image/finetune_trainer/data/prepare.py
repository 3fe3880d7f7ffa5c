"""All rows prepared before training: sources -> shards of tokens -> which rows -> final data sets, and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer.config import TrainConfig
from finetune_trainer.data import select
from finetune_trainer.data.finish import Finisher, Part, as_they_are
from finetune_trainer.data.recipe import Recipe
from finetune_trainer.data.report import DataReport, PartReport, describe_part
from finetune_trainer.data.sources import Source
from finetune_trainer.data.tokens import Tokeniser, Tokens

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What every step needs: the configuration, how rows become tokens, the cache, whether to take what lies there."""

    cfg: TrainConfig
    recipe: Recipe
    seed: int
    cache_dir: Path
    reuse: bool

    def prepare(self, train: Sequence[Source], held_out: Sequence[Source]) -> tuple[dict[str, Dataset], DataReport]:
        """Final data sets and the report, by parts: train, and eval or `eval_<data set>`.

        Args:
            train: to train on; none, when it is streamed, or nothing is trained.
            held_out: to evaluate on; as prompts with their answers, with predict_with_generate.

        Raises:
            DataInvalid: the data cannot be used. Bad rows are told when all rows have been read.
            WorkerDied: a worker was killed.
        """
        parts = self._parts(train, held_out)
        fail = self.cfg.data.on_bad_row == "fail"
        # All reports before any packing: rows that are refused end the run early.
        reports = {part.name: describe_part(part.name, part.tokens, part.picked(), fail=fail) for part in parts}
        done = {part.name: self._finished(part, reports[part.name]) for part in parts}
        report = DataReport(
            stage=self.cfg.finetuning.stage,
            template=self.recipe.template.name,
            engine=", ".join(sorted({tokens.engine for part in parts for tokens in part.tokens})),
            notes=(),
            parts={name: part for name, (_, part) in done.items()},
        )
        return {name: rows for name, (rows, _) in done.items()}, report

    def _tokens(self, found: Sequence[Source], recipe: Recipe) -> list[Tokens]:
        tokeniser = Tokeniser(
            convert=recipe.convert,
            encoder=recipe.encoder,
            identity=recipe.identity,
            cache_dir=self.cache_dir,
            workers=self._workers,
            reuse=self.reuse,
        )
        # A sample is drawn from all rows; without one, rows after max_samples need not be read.
        limits = [None if source.entry.num_samples else self.cfg.data.max_samples for source in found]
        return [tokeniser.tokens(source, limit) for source, limit in zip(found, limits, strict=True)]

    def _parts(self, train_sources: Sequence[Source], held_out_sources: Sequence[Source]) -> list[Part]:
        data = self.cfg.data
        asked = self.recipe.of_prompts() if self.cfg.training.predict_with_generate else self.recipe
        train, held_out = self._tokens(train_sources, self.recipe), self._tokens(held_out_sources, asked)
        choice = select.Choice(
            seed=self.seed,
            max_samples=data.max_samples,
            mix_strategy=data.mix_strategy,
            interleave_probs=data.interleave_probs,
            val_size=data.val_size if train else 0.0,
            eval_on_each_dataset=data.eval_on_each_dataset,
        )
        chosen = select.select(_sizes(train), _sizes(held_out), choice)
        evaluated = held_out
        if choice.val_size:
            evaluated = train if asked is self.recipe else self._tokens(train_sources, asked)
        named = {f"eval_{name}" if name else "eval": rows for name, rows in chosen.eval.items()}
        learned = [] if chosen.train is None else [Part.of("train", train, chosen.train)]
        return learned + [Part.of(name, evaluated, rows) for name, rows in named.items()]

    def _finished(self, part: Part, report: PartReport) -> tuple[Dataset, PartReport]:
        if not part.tokens[0].finishes:
            return as_they_are(part), report
        finisher = Finisher(
            cache_dir=self.cache_dir,
            batch_size=self.cfg.data.preprocessing_batch_size,
            workers=self._workers,
            reuse=self.reuse,
        )
        rows, packed = finisher.finish(part)
        return rows, dataclasses.replace(report, packed=packed)

    @property
    def _workers(self) -> int:
        return self.cfg.data.preprocessing_num_workers or 1


def _sizes(tokens: Sequence[Tokens]) -> list[select.SetSize]:
    return [
        select.SetSize(name=each.name, rows=len(each), num_samples=each.source.entry.num_samples) for each in tokens
    ]
