"""Take the cases that we run from the full set of LLaMA-Factory's vectors.

    python tests/conformance/select_vectors.py <folder with vectors.jsonl.gz and tokenizer/>

Each line of the full set is a case: an entry of dataset_info.json, arguments, raw rows, and what LLaMA-Factory 0.9.5
makes of them with the tokenizer beside it, on 1 January 2026.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
TEMPLATES = {"default", "alpaca", "chatml", "qwen", "llama3", "smollm2", "telechat2"}
STAGES = {"sft"}


def main(source: Path) -> None:
    with gzip.open(source / "vectors.jsonl.gz", "rt", encoding="utf-8") as lines:
        cases = [case for case in map(json.loads, lines) if case["template"] in TEMPLATES and case["stage"] in STAGES]
    text = "".join(json.dumps(case, ensure_ascii=False, sort_keys=True) + "\n" for case in cases)
    # mtime 0: the same cases make the same file.
    (HERE / "vectors.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    shutil.copytree(source / "tokenizer", HERE / "tokenizer", dirs_exist_ok=True)
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
