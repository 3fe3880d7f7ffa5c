"""The data as tokens, kept where every rank of every attempt finds them."""

from __future__ import annotations

import datetime

from finetune_trainer import data, model, quiet
from finetune_trainer.config import TrainConfig
from finetune_trainer.data import Stream
from finetune_trainer.prepare.counted import UNKNOWN, Counted
from finetune_trainer.prepare.news import News


def counted(cfg: TrainConfig, news: News) -> Counted:
    """Tokenise the data sets into the cache of `datasets`, as the ranks will.

    Raises:
        DataInvalid, TemplateUnknown, TemplateInvalid: as `data.build`.
    """
    news.phase("data")
    quiet.hush()
    prepared = data.build(cfg, model.load_tokenizer(cfg), today=datetime.date.today())
    part = prepared.report.train
    if part is None or isinstance(prepared.train, Stream):
        return UNKNOWN
    return Counted(rows=part.rows_kept, dropped=part.rows_dropped, sequences=len(prepared.train), tokens=part.tokens)
