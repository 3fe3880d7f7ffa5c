"""BLEU-4 and ROUGE-1, 2, L of answers, as LLaMA-Factory computes them: means over rows, in percent.

Source: LLaMA-Factory 0.9.5, train/sft/metric.py (`ComputeSimilarity`): ROUGE over jieba's words, BLEU over characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetune_trainer.failures import RunError

NAMES = ("rouge-1", "rouge-2", "rouge-l", "bleu-4")
_DIGITS = 4
"""Of each row's score, as in LLaMA-Factory."""


def scores(predicted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """The mean scores, 0 to 100.

    Raises:
        RunError: nltk, rouge_chinese or jieba is not installed.
    """
    rows = [_row(mine, theirs) for mine, theirs in zip(predicted, labels, strict=True)]
    return {name: sum(row[name] for row in rows) / max(1, len(rows)) for name in NAMES}


def check_installed() -> None:
    """Before a model is loaded for hours of generating.

    Raises:
        RunError: nltk, rouge_chinese or jieba is not installed.
    """
    try:
        import jieba
        import nltk
        import rouge_chinese
    except ImportError as error:
        raise RunError(
            f"predict_with_generate: {error.name} is not installed; pip install nltk rouge-chinese jieba"
        ) from error
    jieba.setLogLevel("WARNING")  # it tells on stderr how it reads its dictionary
    del nltk, rouge_chinese


def _row(predicted: str, label: str) -> dict[str, float]:
    return {**_rouge(_words(predicted), _words(label)), "bleu-4": _bleu(predicted, label)}


def _words(text: str) -> str:
    import jieba

    return " ".join(jieba.cut(text))


def _rouge(predicted: str, label: str) -> dict[str, float]:
    from rouge_chinese import Rouge

    if not predicted.split() or not label.split():
        return {name: 0.0 for name in NAMES if name.startswith("rouge")}
    (found,) = Rouge().get_scores(predicted, label)
    told: Mapping[str, Mapping[str, float]] = found
    return {name: round(score["f"] * 100, _DIGITS) for name, score in told.items()}


def _bleu(predicted: str, label: str) -> float:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method3
    return round(float(sentence_bleu([list(label)], list(predicted), smoothing_function=smooth)) * 100, _DIGITS)
