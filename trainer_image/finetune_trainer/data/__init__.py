"""Data: train.yaml's data keys to token ids and labels, with a report of what became of every row.

Law: sources and store open files, convert knows rows, prepare is the flow; none knows a model, a loss or output_dir.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer import template as templates
from finetune_trainer.config import TrainConfig
from finetune_trainer.data.entry import DataInvalid
from finetune_trainer.data.prepare import Part, Workshop, tokeniser
from finetune_trainer.data.report import DataReport
from finetune_trainer.data.sources import find

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

__all__ = ["DataInvalid", "DataReport", "Prepared", "build"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What training reads: datasets of `input_ids` and `labels` (lists of int), and the report about them."""

    train: Dataset
    eval: Dataset | None
    report: DataReport


def build(  # noqa: PLR0913 - all but two are keywords that few callers need
    cfg: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int | None = None,
    cache_dir: Path | None = None,
    reuse_cache: bool | None = None,
    today: date | None = None,
) -> Prepared:
    """Read, convert, split and tokenise the data sets of `cfg`. The same call gives the same rows, in the same order.

    Args:
        cfg: a checked configuration.
        tokenizer: after `template.fix_tokenizer`.
        seed: for samples and the split; `training.seed` unless said.
        cache_dir: where converted and tokenised rows are kept, shared by all who may see them; `datasets`' own unless
            said. Nothing in it is ever half written.
        reuse_cache: take what an earlier call prepared; `not data.overwrite_cache` unless said. Ranks that waited for
            another one say True.
        today: printed by tool lists of some templates (llama3).

    Raises:
        DataInvalid: the data cannot be used; the message holds every fault that could be found.
        TemplateUnknown, TemplateInvalid: no such template, or it does not go with the tokenizer.
        ConnectionError: the hub cannot be reached.
    """
    template = _template(cfg, tokenizer)
    workshop = Workshop(
        cfg=cfg,
        seed=cfg.training.seed if seed is None else seed,
        cache_dir=_default_cache() if cache_dir is None else cache_dir,
        reuse=not cfg.data.overwrite_cache if reuse_cache is None else reuse_cache,
    )
    if not cfg.data.dataset:
        raise DataInvalid("dataset: nothing to train on; write the names of data sets")
    parts = _parts(cfg, workshop)
    step = tokeniser(cfg, template, tokenizer, list(parts.values()), today or date.today())
    done = {name: workshop.tokenise(part, step, name=name) for name, part in parts.items()}
    train, train_report = done["train"]
    held_out, held_out_report = done.get("eval", (None, None))
    return Prepared(train=train, eval=held_out, report=DataReport(train=train_report, eval=held_out_report))


def _parts(cfg: TrainConfig, workshop: Workshop) -> dict[str, Part]:
    count = len(cfg.data.dataset)
    sources = find((*cfg.data.dataset, *cfg.data.eval_dataset), cfg.data.dataset_dir, stage=cfg.finetuning.stage)
    train = workshop.load(sources[:count])
    if cfg.data.eval_dataset:
        return {"train": train, "eval": workshop.load(sources[count:])}
    if cfg.data.val_size:
        train, held_out = workshop.split(train)
        return {"train": train, "eval": held_out}
    return {"train": train}


def _template(cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase) -> templates.Template:
    if cfg.data.template is None:
        raise templates.TemplateUnknown(
            "template: a template made from the tokenizer's own chat template is not supported yet; write one of "
            + ", ".join(templates.names())
        )
    template = templates.get(cfg.data.template).with_default_system(cfg.data.default_system)
    assert not template.replace_eos or tokenizer.eos_token == template.stop_words[0], "fix_tokenizer comes first"
    return template


def _default_cache() -> Path:
    from datasets import config

    return Path(config.HF_DATASETS_CACHE) / "finetune"
