"""The flow of the room: sources -> rows -> examples -> split -> tokens, with a cache after each slow step."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune_trainer.config import TrainConfig
from finetune_trainer.data import store
from finetune_trainer.data.convert import convert
from finetune_trainer.data.entry import DataInvalid
from finetune_trainer.data.report import PartReport, describe
from finetune_trainer.data.sources import Source, read
from finetune_trainer.data.tokens import Tokenise, example_schema, to_row, token_features
from finetune_trainer.template import tools
from finetune_trainer.template.encode import EncodeOptions, check
from finetune_trainer.template.registry import Template

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

_VERSION = 1
"""Raised when the same rows make other examples or tokens than before: old caches are then left alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Converted rows of train or eval, before tokenisation, and what they were made from."""

    rows: Dataset
    sources: tuple[Source, ...]
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What every step needs: the configuration, the cache, and whether to take what lies there."""

    cfg: TrainConfig
    seed: int
    cache_dir: Path
    reuse: bool

    def load(self, sources: Sequence[Source]) -> Part:
        """All rows of the sources as examples, one data set after the other.

        Raises:
            DataInvalid: a data set cannot be read, or holds no row.
        """
        from datasets import concatenate_datasets

        # One generator for all data sets in turn: LLaMA-Factory draws from numpy's global one, seeded at start.
        random = np.random.RandomState(self.seed)
        sets = [_sample(self._examples(source, number), source, random) for number, source in enumerate(sources)]
        capped = [rows.select(range(min(len(rows), self.cfg.data.max_samples or len(rows)))) for rows in sets]
        made_of = [(self._key(source), source.entry.num_samples) for source in sources]
        return Part(
            rows=concatenate_datasets(capped),
            sources=tuple(sources),
            key=store.key(made_of, self.seed, self.cfg.data.max_samples),
        )

    def split(self, part: Part) -> tuple[Part, Part]:
        """Hold out `val_size` rows: a share below 1, or a number.

        Raises:
            DataInvalid: nothing would be left on one side.
        """
        val_size = self.cfg.data.val_size
        held_out = int(val_size) if val_size > 1 else val_size
        if not 0 < (held_out if held_out > 1 else held_out * len(part.rows)) < len(part.rows):
            raise DataInvalid(f"val_size: cannot hold out {val_size:g} of {len(part.rows)} rows; write a smaller one")
        halves = part.rows.train_test_split(test_size=held_out, seed=self.seed, load_from_cache_file=False)
        train, test = (
            dataclasses.replace(part, rows=halves[side], key=store.key(part.key, side, held_out, self.seed))
            for side in ("train", "test")
        )
        return train, test

    def tokenise(self, part: Part, step: Tokenise, *, name: str) -> tuple[Dataset, PartReport]:
        """Token ids and labels of the rows that can be used, and the report about all of them."""
        import pyarrow.compute as pc

        data = self.cfg.data
        key = store.key(_VERSION, part.key, *_identity(step))
        workers = min(data.preprocessing_num_workers or 1, max(len(part.rows), 1))
        tokens = part.rows.map(
            step,
            batched=True,
            batch_size=data.preprocessing_batch_size,
            num_proc=workers if workers > 1 else None,
            remove_columns=part.rows.column_names,
            features=token_features(),
            cache_file_name=str(self.cache_dir / f"tokens-{key}.arrow"),
            load_from_cache_file=self.reuse,
            new_fingerprint=key,
            desc=f"Tokenising ({name})",
        )
        report = describe(tokens, part.sources, part=name)
        kept = tokens.select_columns(["input_ids", "labels"])
        if report.rows_kept < report.rows_read:
            reasons = tokens.select_columns(["reason"]).with_format("arrow")[:].column("reason")
            kept = kept.select(pc.indices_nonzero(pc.is_null(reasons)).to_pylist())
        return kept, report

    def _key(self, source: Source) -> str:
        return store.key(_VERSION, dataclasses.asdict(source.entry), source.state(), self._limit(source))

    def _examples(self, source: Source, number: int) -> Dataset:
        path = self.cache_dir / f"examples-{number}-{self._key(source)}.arrow"
        rows = store.rows(path, self._converted(source, number), example_schema(), reuse=self.reuse)
        if not len(rows):
            raise DataInvalid(f"dataset {source.entry.name!r}: {', '.join(source.names)}: holds no row")
        return rows

    def _converted(self, source: Source, number: int) -> Iterator[dict[str, Any]]:
        limit = self._limit(source)
        seen: set[str] = set()
        for count, (file, line, row) in enumerate(read(source, self.cache_dir)):
            if count == limit:
                return
            seen.update(row if isinstance(row, Mapping) else ())
            yield to_row(convert(row, source.entry)) | {"source": number, "file": file, "line": line}
        _check_columns(source, seen)

    def _limit(self, source: Source) -> int | None:
        # A sample is drawn from all rows; without one, rows after max_samples need not be read.
        return None if source.entry.num_samples else self.cfg.data.max_samples


def tokeniser(
    cfg: TrainConfig, template: Template, tokenizer: PreTrainedTokenizerBase, parts: Sequence[Part], today: date
) -> Tokenise:
    """The step from examples to tokens, checked.

    Raises:
        TemplateInvalid: the template does not go with the tokenizer or the options.
    """
    dated = tools.get(template.tool_format).dated and any(_with_tools(part.rows) for part in parts)
    options = EncodeOptions(
        cutoff_len=cfg.data.cutoff_len,
        train_on_prompt=cfg.data.train_on_prompt,
        mask_history=cfg.data.mask_history,
        # The date is part of the cache's key: only where it is printed.
        today=today if dated else date.min,
    )
    check(template, tokenizer, options)
    return Tokenise(template=template, tokenizer=tokenizer, options=options)


def _check_columns(source: Source, seen: set[str]) -> None:
    missing = [name for name in source.entry.named_columns if seen and name not in seen]
    if missing:
        raise DataInvalid(
            f"dataset {source.entry.name!r}: columns: no row has {', '.join(map(repr, missing))};"
            f" the rows have {', '.join(map(repr, sorted(seen)))}"
        )


def _with_tools(rows: Dataset) -> bool:
    return any(any(batch["tools"]) for batch in rows.select_columns(["tools"]).iter(batch_size=10_000))


def _sample(rows: Dataset, source: Source, random: np.random.RandomState) -> Dataset:
    """`num_samples` rows in random order; more than there are: all of them, and some again."""
    wanted = source.entry.num_samples
    if wanted is None:
        return rows
    drawn = random.permutation(len(rows))[:wanted]
    again = random.choice(len(rows), wanted - len(drawn)) if wanted > len(drawn) else drawn[:0]
    return rows.select(np.concatenate((drawn, again)))


def _identity(step: Tokenise) -> tuple[object, ...]:
    tokenizer = step.tokenizer
    specials = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    return dataclasses.asdict(step.template), dataclasses.asdict(step.options), specials, _vocabulary(tokenizer)


def _vocabulary(tokenizer: PreTrainedTokenizerBase) -> str:
    """What decides how text becomes ids, without the state that a call leaves behind."""
    from datasets.fingerprint import Hasher

    if not tokenizer.is_fast:
        return str(Hasher.hash(tokenizer))
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    return store.key({name: state[name] for name in state if name not in ("truncation", "padding")})
