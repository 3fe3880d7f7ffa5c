"""Rows about which answer is better, for the tiny model: liked answers repeat the words, others say wrong ones."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.tiny_model import WORDS

WRONG = ("never", "nothing", "nowhere")


def _draw(draw: random.Random) -> tuple[str, str, str]:
    """A question, an answer that repeats its words, and one that does not; of unequal length."""
    words = draw.choices(WORDS, k=draw.randint(1, 12))
    wrong = [*draw.choices(WORDS, k=draw.randint(0, 8)), draw.choice(WRONG)]
    return f"Say {len(words)} words: {' '.join(words)}", " ".join(words), " ".join(wrong)


def pairs(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Alpaca rows with `chosen` and `rejected`."""
    draw = random.Random(seed)
    drawn = [_draw(draw) for _ in range(count)]
    return [
        {"instruction": question, "input": "", "chosen": right, "rejected": wrong} for question, right, wrong in drawn
    ]


def verdicts(count: int, *, seed: int = 0, liked: float = 0.5) -> list[dict[str, Any]]:
    """Alpaca rows with an answer and whether people liked it."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        question, right, wrong = _draw(draw)
        good = draw.random() < liked
        rows.append({"instruction": question, "input": "", "output": right if good else wrong, "kto_tag": good})
    return rows


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows and their dataset_info.json under the name `words`, as the runs of other stages have it."""
    columns: dict[str, str] = {"prompt": "instruction", "query": "input"}
    said: dict[str, Any] = {"file_name": "words.json"}
    if "chosen" in rows[0]:
        said |= {"ranking": True, "columns": columns | {"chosen": "chosen", "rejected": "rejected"}}
    else:
        said |= {"columns": columns | {"response": "output", "kto_tag": "kto_tag"}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"words": said}), encoding="utf-8")
    return folder
