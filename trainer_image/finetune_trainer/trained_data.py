"""What a run trains on: the same rows on every rank, told to people, with the chat template that goes with them.

Law: the data's part of `train`; knows no model and no loss.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from finetune_trainer import artifacts, data, members, saved_template
from finetune_trainer.config import TrainConfig
from finetune_trainer.context import RunContext
from finetune_trainer.data import DataReport, Prepared, Stream
from finetune_trainer.distributed import World
from finetune_trainer.progress import Reporter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prepare(
    cfg: TrainConfig, context: RunContext, world: World, reporter: Reporter, tokenizer: PreTrainedTokenizerBase
) -> Prepared:
    """Read, convert and tokenise, or take what was prepared; the tokenizer gets its chat template.

    Raises:
        DataInvalid: the data cannot be used.
        WorldDiffers: this rank reads other rows than the first.
    """
    today = world.gather(datetime.date.today())[0]  # one date for all, also at midnight
    with world.first(shared=cfg.data.data_shared_file_system) as goes_first:
        kept = None if goes_first and not context.data_prepared else True
        prepared = data.build(cfg, tokenizer, reuse_cache=kept, today=today)
    members.check_data(world.gather(data.fingerprint(prepared.train)))
    prepared = _with_chat_template(prepared, reporter)
    _tell_rows(prepared.report, reporter, cfg.data.cutoff_len)
    if world.is_first:
        artifacts.save_data_report(prepared.report, context.output_dir)
    return prepared


def final_report(prepared: Prepared) -> DataReport:
    """With what came by of a stream, which nobody knew before."""
    if not isinstance(prepared.train, Stream):
        return prepared.report
    parts = {"train": prepared.train.report(), **prepared.report.parts}
    return dataclasses.replace(prepared.report, parts=parts)


def _with_chat_template(prepared: Prepared, reporter: Reporter) -> Prepared:
    """The tokenizer gets the chat template that will be saved with it, and the report says how well it fits."""
    recipe = prepared.recipe
    decided = saved_template.decide(
        recipe.stage,
        recipe.template,
        recipe.tokenizer,
        recipe.options_of(recipe.today),
        own=recipe.tokenizer.chat_template,
        tools=prepared.has_tools,
    )
    if decided is None:
        return prepared
    if not decided.own:
        recipe.tokenizer.chat_template = decided.chat_template
    reporter.say(decided.words())
    report = dataclasses.replace(prepared.report, notes=(*prepared.report.notes, decided.words()))
    return dataclasses.replace(prepared, report=report)


def _tell_rows(report: DataReport, reporter: Reporter, cutoff_len: int) -> None:
    rows = report.train
    if rows is None:
        return
    reporter.counted(
        read=rows.rows_read, dropped=rows.rows_dropped, truncated=rows.rows_truncated, changed=rows.rows_changed
    )
    if rows.rows_dropped or rows.rows_truncated:
        reporter.say(
            f"{rows.rows_read:,} rows read: {rows.rows_dropped:,} dropped, {rows.rows_truncated:,} cut to "
            f"{cutoff_len} tokens; data_report.json lists them"
        )
