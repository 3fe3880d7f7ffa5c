"""The way into the room: from train.yaml and a tokenizer to what training reads, prepared, kept or streamed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer.config import TrainConfig
from finetune_trainer.data import sources, tokenized
from finetune_trainer.data.entry import DataInvalid
from finetune_trainer.data.prepare import Workshop
from finetune_trainer.data.recipe import Recipe, data_stage
from finetune_trainer.data.report import DataReport
from finetune_trainer.data.sources import Source
from finetune_trainer.data.stream import Stream, open_stream

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What training reads: rows of the stage's columns (lists of int), and the report about them."""

    train: Dataset | Stream
    """Without a row where nothing is trained."""
    eval: Dataset | dict[str, Dataset] | None
    """By the data sets' names with eval_on_each_dataset."""
    report: DataReport
    recipe: Recipe
    """How rows became tokens."""
    has_tools: bool = True
    """Whether some data set has a column of tools."""


def build(  # noqa: PLR0913 - all but two are keywords that few callers need
    cfg: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int | None = None,
    cache_dir: Path | None = None,
    reuse_cache: bool | None = None,
    today: date | None = None,
) -> Prepared:
    """Read, convert, tokenise, choose and pack the data sets of `cfg`.

    The same call gives the same rows, in the same order, whatever the number of processes; packed rows and KTO's
    partners are those of LLaMA-Factory with that number.

    Args:
        cfg: a checked configuration.
        tokenizer: after `template.fix_tokenizer`.
        seed: for samples, mixing and the split; `training.seed` unless said.
        cache_dir: where tokens are kept, shared by all who may see them; `datasets`' own unless said. Nothing in it is
            ever half written.
        reuse_cache: take what an earlier call prepared; `not data.overwrite_cache` unless said. Ranks that waited for
            another one say True.
        today: printed by tool lists of some templates (llama3).

    Raises:
        DataInvalid: the data cannot be used; the message holds every fault that could be found.
        TemplateUnknown, TemplateInvalid: no such template, or it does not go with the tokenizer.
        ConnectionError: the hub cannot be reached.
        WorkerDied: a process was killed; the next call goes on from there.
    """
    recipe = Recipe.of(cfg, tokenizer, today or date.today())
    kept = Path(cfg.data.tokenized_path) if cfg.data.tokenized_path else None
    if kept is not None and tokenized.has_data(kept):
        return _from_disk(recipe, kept)
    if not cfg.data.dataset and cfg.training.do_train:
        raise DataInvalid("dataset: nothing to train on; write the names of data sets")
    shop = Workshop(
        cfg=cfg,
        recipe=recipe,
        seed=cfg.training.seed if seed is None else seed,
        cache_dir=_default_cache() if cache_dir is None else cache_dir,
        reuse=not cfg.data.overwrite_cache if reuse_cache is None else reuse_cache,
    )
    train, held_out = _find(shop)
    prepared = _prepare(shop, train, held_out)
    found = train or held_out
    return dataclasses.replace(prepared, has_tools=any(one.entry.columns.tools is not None for one in found))


def _prepare(shop: Workshop, train: list[Source], held_out: list[Source]) -> Prepared:
    cfg, recipe = shop.cfg, shop.recipe
    unused = not cfg.training.do_train and not cfg.data.val_size
    stream = open_stream(cfg, recipe, train, shop.seed) if cfg.data.streaming and not unused else None
    parts, report = shop.prepare([] if stream or unused else train, held_out)
    report = dataclasses.replace(report, notes=(*recipe.notes, *_notes(cfg)))
    if stream is not None:
        return _with_stream(stream, parts, report, recipe)
    if cfg.data.tokenized_path:
        tokenized.save(Path(cfg.data.tokenized_path), {_on_disk(name): rows for name, rows in parts.items()})
    learned = parts["train"] if "train" in parts else _nothing()
    return Prepared(train=learned, eval=_evaluated(parts), report=report, recipe=recipe)


def _nothing() -> Dataset:
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": []})


def _find(shop: Workshop) -> tuple[list[Source], list[Source]]:
    """Of dataset and eval_dataset; faults of both are told together."""
    cfg = shop.cfg
    # A name that is said twice is read once, as in LLaMA-Factory.
    train, held_out = (tuple(dict.fromkeys(names)) for names in (cfg.data.dataset, cfg.data.eval_dataset))
    access = sources.Access(
        cache_dir=Path(cfg.model.cache_dir) if cfg.model.cache_dir else None,
        trust_remote_code=cfg.model.trust_remote_code,
        workers=cfg.data.preprocessing_num_workers or 1,
        streaming=cfg.data.streaming,
    )
    found = sources.find((*train, *held_out), cfg.data.dataset_dir, stage=data_stage(cfg), access=access)
    return found[: len(train)], found[len(train) :]


def _with_stream(stream: Stream, parts: Mapping[str, Dataset], report: DataReport, recipe: Recipe) -> Prepared:
    from datasets import Dataset

    note = "streaming: rows are read while they are trained on; what became of them is known only then"
    notes = (*report.notes, note)
    engine = stream.encoder.engine
    if not stream.skip:
        report = dataclasses.replace(report, notes=notes, engine=engine)
        return Prepared(train=stream, eval=_evaluated(parts), report=report, recipe=recipe)
    rows, seen = stream.held_out()
    if not rows:
        raise DataInvalid(f"val_size: none of the first {stream.skip} rows can be used; write a larger one")
    held_out = Dataset.from_dict({name: [row[name] for row in rows] for name in stream.encoder.final})
    report = dataclasses.replace(report, notes=notes, engine=engine, parts={"eval": seen})
    return Prepared(train=stream, eval=held_out, report=report, recipe=recipe)


def _from_disk(recipe: Recipe, kept: Path) -> Prepared:
    cfg = recipe.cfg
    found = tokenized.load(kept, data_stage(cfg), vocabulary=len(recipe.tokenizer))
    parts = {_in_report(name): rows for name, rows in found.items()}
    training = cfg.training
    if len(parts) == 1 and (training.do_eval or training.eval_strategy != "no" or training.eval_on_start):
        raise DataInvalid(
            f"tokenized_path: {kept} has no part to evaluate on; write eval_strategy: no, or remove the folder to have"
            " it made anew with eval_dataset or val_size"
        )
    note = f"tokenized_path: the rows are those of {kept}; all other keys about data had no effect"
    report = DataReport(
        stage=cfg.finetuning.stage,
        template="as when the folder was made",
        engine="none, the rows were tokenised before",
        notes=(note,),
        parts={name: tokenized.describe(rows) for name, rows in parts.items()},
    )
    return Prepared(train=parts["train"], eval=_evaluated(parts), report=report, recipe=recipe)


def _evaluated(parts: Mapping[str, Dataset]) -> Dataset | dict[str, Dataset] | None:
    each = {name.removeprefix("eval_"): rows for name, rows in parts.items() if name.startswith("eval_")}
    return each or parts.get("eval")


def _notes(cfg: TrainConfig) -> tuple[str, ...]:
    named = (("dataset", cfg.data.dataset), ("eval_dataset", cfg.data.eval_dataset))
    return tuple(
        f"{key}: {name!r} is named more than once; its rows are read once, as in LLaMA-Factory"
        for key, names in named
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    )


def _on_disk(part: str) -> str:
    return part.replace("eval", tokenized.HELD_OUT, 1) if part.startswith("eval") else part


def _in_report(name: str) -> str:
    return name.replace(tokenized.HELD_OUT, "eval", 1) if name.startswith(tokenized.HELD_OUT) else name


def _default_cache() -> Path:
    from datasets import config

    return Path(config.HF_DATASETS_CACHE) / "finetune"
