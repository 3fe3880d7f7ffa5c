"""Where rows come from: dataset_info.json, files and the hub. The only room that opens them."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_trainer.data.entry import DataInvalid, Entry, parse
from finetune_trainer.records import DATASET_INFO_FILE

Numbered = Iterator[tuple[int, Any]]
"""Rows with their line (jsonl, csv, txt; from 1) or index (json, parquet, arrow, hub; from 0)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A data set that is there: its entry and the files, or the hub's id, to read."""

    entry: Entry
    files: tuple[Path, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What rows are located by: the files, or the hub's id."""
        return tuple(map(str, self.files)) or (str(self.entry.hf_hub_url),)

    def state(self) -> list[Any]:
        """What changes when the data does: each file's path, size and time. Of a hub only the id is known."""
        folder = Path(self.entry.hf_hub_url or "")
        files = self.files or (sorted(folder.rglob("*")) if folder.is_dir() else ())
        stats = [(str(file), file.stat()) for file in files]
        return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats] or list(self.names)


def find(names: Sequence[str], dataset_dir: str, *, stage: str) -> list[Source]:
    """The named data sets, each with its files.

    Raises:
        DataInvalid: with the faults of all data sets: no such name (and the nearest), a faulty entry, a missing file.
    """
    if dataset_dir == "ONLINE" or dataset_dir.startswith("REMOTE:"):
        raise DataInvalid(f"dataset_dir: {dataset_dir} is not supported yet; write a folder with {DATASET_INFO_FILE}")
    folder = Path(dataset_dir)
    known = _read_info(folder / DATASET_INFO_FILE)
    found: list[Source] = []
    faults: list[str] = []
    for name in names:
        try:
            entry = parse(name, _look_up(name, known, folder), stage=stage)
            found.append(Source(entry=entry, files=() if entry.hf_hub_url else _files(entry, folder)))
        except DataInvalid as error:
            faults.append(str(error))
    if faults:
        raise DataInvalid("\n".join(faults))
    return found


def read(source: Source, cache_dir: Path | None = None) -> Iterator[tuple[int, int, Any]]:
    """All rows as (index of the file in `source.names`, line or index, row).

    Raises:
        DataInvalid: a file cannot be read as what its name says; the message tells file and line.
        ConnectionError: the hub cannot be reached.
    """
    if not source.files:
        yield from ((0, index, row) for index, row in _read_hub(source.entry, cache_dir))
    for number, path in enumerate(source.files):
        try:
            yield from ((number, line, row) for line, row in _READERS[path.suffix.lower()](path))
        except UnicodeDecodeError as error:
            raise DataInvalid(f"dataset {source.entry.name!r}: {path}: not UTF-8: {error.reason}") from error
        except DataInvalid as error:
            raise DataInvalid(f"dataset {source.entry.name!r}: {error}") from error


def _read_info(path: Path) -> Mapping[str, Any]:
    try:
        info = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise DataInvalid(
            f"{path.absolute()}: no such file; set dataset_dir to the folder that holds {DATASET_INFO_FILE}"
        ) from None
    except json.JSONDecodeError as error:
        raise DataInvalid(f"{path.absolute()}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(info, dict):
        raise DataInvalid(f"{path.absolute()}: expected an object of data sets by name, got {type(info).__name__}")
    return info


def _look_up(name: str, known: Mapping[str, Any], folder: Path) -> object:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    info = (folder / DATASET_INFO_FILE).absolute()
    raise DataInvalid(f"dataset {name!r} is not in {info}; {hint}known: {', '.join(sorted(known))}")


def _files(entry: Entry, folder: Path) -> tuple[Path, ...]:
    path = (folder / (entry.file_name or "")).absolute()
    where = f"dataset {entry.name!r}: {path}"
    if not path.exists():
        raise DataInvalid(
            f"{where}: no such file; write file_name as a path below dataset_dir ({folder.absolute()}), or absolute"
        )
    files = _visible(path) if path.is_dir() else (path,)
    if not files:
        raise DataInvalid(f"{where}: the folder holds no files")
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1:
        raise DataInvalid(
            f"{where}: the folder holds files of several kinds ({', '.join(kinds)}); keep one kind in it"
        )
    if kinds[0] not in _READERS:
        raise DataInvalid(f"{where}: {kinds[0] or 'no ending'} is not supported; use {', '.join(_READERS)}")
    return files


def _visible(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")))


def _read_json(path: Path) -> Numbered:
    """A list of rows, or one row a line, whatever the file's ending."""
    with path.open(encoding="utf-8-sig") as file:
        start = next((char for line in file if (char := line.strip()[:1])), "")
        file.seek(0)
        if start == "[":
            yield from enumerate(_parse(path, file.read(), 1))
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _parse(path, line.rstrip(), number)


def _parse(path: Path, text: str, line: int) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataInvalid(f"{path}:{line + error.lineno - 1}: not JSON: {error.msg}") from error


def _read_csv(path: Path) -> Numbered:
    """Everything is text; an empty cell is none."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                yield reader.line_num, {key: value or None for key, value in row.items()}
        except csv.Error as error:
            raise DataInvalid(f"{path}:{reader.line_num}: not CSV: {error}") from error


def _read_txt(path: Path) -> Numbered:
    with path.open(encoding="utf-8-sig") as file:
        yield from ((number, {"text": line.rstrip("\n")}) for number, line in enumerate(file, 1))


def _read_parquet(path: Path) -> Numbered:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from _number(file.iter_batches(batch_size=1000))
    except pa.ArrowException as error:
        raise DataInvalid(f"{path}: not Parquet: {error}") from error


def _read_arrow(path: Path) -> Numbered:
    """The file format of Arrow's IPC, or its stream, which `datasets` writes."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file:
            if file.read(6) == b"ARROW1":
                opened = pa.ipc.open_file(file)
                yield from _number(opened.get_batch(number) for number in range(opened.num_record_batches))
            else:
                file.seek(0)
                yield from _number(pa.ipc.open_stream(file))
    except pa.ArrowException as error:
        raise DataInvalid(f"{path}: not Arrow: {error}") from error


def _number(batches: Iterator[Any]) -> Numbered:
    yield from enumerate(row for batch in batches for row in batch.to_pylist())


def _read_hub(entry: Entry, cache_dir: Path | None) -> Numbered:
    """A data set of the Hugging Face hub, or a folder of one."""
    import datasets

    where = f"dataset {entry.name!r}: hf_hub_url {entry.hf_hub_url!r}"
    try:
        loaded = datasets.load_dataset(
            entry.hf_hub_url, entry.subset, data_dir=entry.folder, split=entry.split, cache_dir=cache_dir
        )
    except ConnectionError as error:
        raise ConnectionError(f"{where}: the hub cannot be reached; write file_name to read a local file") from error
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise DataInvalid(f"{where}: {error}") from error
    yield from enumerate(loaded)


_READERS: Mapping[str, Callable[[Path], Numbered]] = {
    ".json": _read_json,
    ".jsonl": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".txt": _read_txt,
}
