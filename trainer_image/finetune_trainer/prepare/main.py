"""One preparation, from prepare.json to what it found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finetune_trainer import config, failures, records, supervise
from finetune_trainer.config import TrainConfig
from finetune_trainer.prepare import model, size
from finetune_trainer.prepare.counted import UNKNOWN, Counted
from finetune_trainer.prepare.news import News
from finetune_trainer.records import Preparation, PrepareSpec, RunSpec
from finetune_trainer.supervise import Pod, Poster


def prepare(environment: Mapping[str, str]) -> int:
    """Do what prepare.json asks for, and tell.

    Returns:
        0, `EXIT_AGAIN` or `EXIT_LASTING`.

    Raises:
        SystemExit: 143 after SIGTERM; what was fetched stays.
    """
    supervise.end_on_sigterm()
    pod = Pod.from_environment(environment)
    pod.run_dir.mkdir(parents=True, exist_ok=True)
    news = News(pod.run_dir / records.PROGRESS_FILE)
    run = RunSpec.from_json((pod.config_dir / records.RUN_FILE).read_text(encoding="utf-8"))
    poster = Poster(run.progress_url, pod.token_file, news.file, ca_file=pod.ca_file) if run.progress_url else None
    try:
        found = _found(pod, run, environment, news)
    except Exception as error:
        found = failures.reported(Preparation, error)
    if poster is not None:
        poster.close()
    return supervise.leave(found, pod.termination_log)


def _found(pod: Pod, run: RunSpec, environment: Mapping[str, str], news: News) -> Preparation:
    wanted = PrepareSpec.from_json((pod.config_dir / records.PREPARE_FILE).read_text(encoding="utf-8"))
    cfg = config.load(pod.config_dir / records.TRAIN_FILE, fill=False)
    folder = None
    if wanted.source is not None:
        folder = model.fetched(wanted.source, Path(wanted.cache), environment, news)
        cfg = _with_model(cfg, folder)
    counted = _counted(cfg, news) if wanted.data else UNKNOWN
    sized = size.of(cfg, run, gpu_memory=wanted.gpu_memory, rows=counted.sequences)
    done = [text for text in (f"the model lies in {folder}" if folder else "", counted.words(), sized.words) if text]
    return Preparation(
        result="succeeded",
        reason="Prepared",
        message="; ".join(done) or "nothing was to be done",
        retryable=False,
        model=str(folder) if folder else None,
        data=counted.rows is not None,
        parameters=sized.parameters,
        memory=sized.memory,
        fits=sized.fits,
        instead=sized.instead,
        steps=sized.steps,
        rows=counted.rows,
        tokens=counted.tokens,
    )


def _counted(cfg: TrainConfig, news: News) -> Counted:
    from finetune_trainer.prepare import tokens  # transformers: a model that can't be fetched is told without it

    return tokens.counted(cfg, news)


def _with_model(cfg: TrainConfig, folder: Path) -> TrainConfig:
    """The same keys, with the model where it lies now."""
    return config.parse({**config.dump(cfg), "model_name_or_path": str(folder)})
