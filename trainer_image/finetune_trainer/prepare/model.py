"""The model, from its source into the cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from finetune_trainer import fetch
from finetune_trainer.fetch.screen import left_out, screen
from finetune_trainer.prepare.news import News

log = logging.getLogger(__name__)


def fetched(source: str, cache: Path, environment: Mapping[str, str], news: News) -> Path:
    """The model's folder in the cache; fetched unless it lies there.

    Raises:
        FetchError: what is wrong and what to do; `retryable` where another call goes on.
    """
    news.phase("fetching")
    with screen() as shown:

        def report(progress: fetch.Progress) -> None:
            shown(progress)
            news.fetching(progress)

        found = fetch.fetch(source, cache, credentials=fetch.Credentials.of(environment), report=report)
    if told := left_out(found):
        log.info("%s", told)
    return found.folder
