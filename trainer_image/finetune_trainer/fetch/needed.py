"""Pure: which files of a model are needed. Weights come in many formats; one is enough.

What is not known to be useless is kept: a file too many costs bytes, one too few costs the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from finetune_trainer.fetch.listing import File

_FORMATS = (
    re.compile(r"(?!consolidated)[^/]*\.safetensors"),
    re.compile(r"consolidated[^/]*\.safetensors"),
    re.compile(r"(pytorch_model|adapter_model)[^/]*\.bin"),
    re.compile(r"[^/]*\.(pth|pt|ckpt)"),
    re.compile(r"[^/]*\.gguf"),
    re.compile(r"[^/]*\.(h5|msgpack|onnx|onnx_data|ot|tflite|mlmodel|llamafile)"),
)
"""Of weights, best first; below the best that a model has, all hold the same once more."""
_USELESS = (
    (re.compile(r"(original|onnx|openvino|coreml|metal|gguf)/.*"), "the same model for other programs"),
    (re.compile(r"(checkpoint-\d+|global_step\d+|runs)/.*"), "left over from a training"),
    (re.compile(r"(.*/)?(optimizer|scheduler|training_args|rng_state\w*)\.(pt|pth|bin)"), "left over from a training"),
    (
        re.compile(r"(.*/)?\.(git|cache|ipynb_checkpoints|DS_Store|gitattributes|gitignore)(/.*)?"),
        "no part of a model",
    ),
    (re.compile(r".*\.(png|jpe?g|gif|webp|svg|mp4|mov|pdf|ipynb|wav|mp3)", re.IGNORECASE), "pictures and papers"),
)


class LeftOut(NamedTuple):
    """A file that is not fetched."""

    file: File
    why: str


class Needed(NamedTuple):
    """The verdict on a listing."""

    files: tuple[File, ...]
    left_out: tuple[LeftOut, ...]


def needed(files: Sequence[File]) -> Needed:
    """Weights in the best format that their folder has, and all that is not known to be useless."""
    best = _best(files)
    verdicts = [(file, _why_not(file.name, best)) for file in files]
    return Needed(
        files=tuple(file for file, why in verdicts if why is None),
        left_out=tuple(LeftOut(file, why) for file, why in verdicts if why is not None),
    )


def _best(files: Sequence[File]) -> Mapping[str, int]:
    """Folder -> the best format in it."""
    best: dict[str, int] = {}
    for file in files:
        folder, rank = _format(file.name)
        if rank is not None:
            best[folder] = min(rank, best.get(folder, rank))
    return best


def _why_not(name: str, best: Mapping[str, int]) -> str | None:
    useless = next((why for pattern, why in _USELESS if pattern.fullmatch(name)), None)
    if useless is not None and "" in best:  # else it has no weights but those in such folders
        return useless
    folder, rank = _format(name.removesuffix(".index.json"))
    return "the same weights in another format" if rank is not None and rank > best.get(folder, rank) else None


def _format(name: str) -> tuple[str, int | None]:
    folder, _, base = name.rpartition("/")
    return folder, next((rank for rank, pattern in enumerate(_FORMATS) if pattern.fullmatch(base)), None)
