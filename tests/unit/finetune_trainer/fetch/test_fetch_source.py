"""How sources are spelt, and which of a model's files are needed."""

from __future__ import annotations

import pytest

from finetune_trainer.fetch import Credentials, source
from finetune_trainer.fetch.errors import SourceInvalid
from finetune_trainer.fetch.listing import File, content_revision
from finetune_trainer.fetch.needed import needed


@pytest.mark.parametrize(
    ("text", "folder", "revision"),
    [
        ("hf://TeleAI/TeleChat3-36B-Thinking", "hf/TeleAI/TeleChat3-36B-Thinking", None),
        ("hf://gpt2@refs/pr/3", "hf/gpt2", "refs/pr/3"),
        ("ms://TeleAI/TeleChat3@v1.0", "ms/TeleAI/TeleChat3", "v1.0"),
        ("s3://models/team/tiny/", "s3/models/team/tiny", None),
        ("https://files.example:8443/models/tiny/", "http/files.example_8443/models/tiny", None),
    ],
)
def test_spellings(text: str, folder: str, revision: str | None) -> None:
    parsed = source.parse(text)
    assert (str(parsed.folder), parsed.revision) == (folder, revision)
    assert str(parsed) == text.rstrip("/")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("org/name", "write hf://org/name, ms://org/name, s3://bucket/prefix or https://host/path/"),
        ("hff://org/name", "write hf://org/name"),
        ("hf://a/b/c", "write hf://org/name or hf://org/name@revision"),
        ("hf://../name", "write hf://org/name"),
        ("hf://org/name@", "after @ comes a branch, a tag or a commit"),
        ("ms://name", "write ms://org/name"),
        ("s3://bucket", "where prefix is the model's folder"),
        ("s3://bucket/../x", "where prefix is the model's folder"),
        ("pvc://models/tiny", "a volume is mounted, not fetched"),
        ("gs://bucket/tiny", "set AWS_ENDPOINT_URL_S3 to https://storage.googleapis.com"),
        ("https://host/tiny.tar.gz", "an archive; unpack it there"),
        ("https://host/tiny?token=secret", "write the address of a folder, without ? and #"),
        ("https://me:secret@host/tiny", "write it into a netrc file"),
        ("ftp://me:secret@host/tiny?secret", "write hf://org/name"),
    ],
)
def test_misspellings_are_told_without_secrets(text: str, words: str) -> None:
    with pytest.raises(SourceInvalid) as invalid:
        source.parse(text)
    assert words in str(invalid.value)
    assert "secret" not in str(invalid.value)


def kept(*names: str) -> set[str]:
    return {file.name for file in needed([File(name=name, size=1) for name in names]).files}


@pytest.mark.parametrize(
    ("useless", "needful"),
    [
        (
            """pytorch_model-00001-of-00002.bin pytorch_model.bin.index.json tf_model.h5 flax_model.msgpack model.gguf
            consolidated.safetensors original/consolidated.00.pth original/params.json onnx/model.onnx metal/model.bin
            checkpoint-500/model.safetensors optimizer.pt training_args.bin .gitattributes plot.PNG""",
            """model-00001-of-00002.safetensors model.safetensors.index.json config.json tokenizer.model README.md
            modeling_telechat.py chat_template.jinja qwen.tiktoken 2_Dense/pytorch_model.bin LICENSE odd.thing""",
        ),
        ("consolidated.00.pth optimizer.pt", "pytorch_model.bin pytorch_model.bin.index.json config.json"),
        ("adapter_model.bin", "adapter_model.safetensors adapter_config.json"),
        ("", "model.gguf config.json"),
        ("", "original/consolidated.00.pth original/params.json"),
        ("", "tokenizer.json"),
    ],
)
def test_weights_are_kept_in_their_best_format(useless: str, needful: str) -> None:
    assert kept(*useless.split(), *needful.split()) == set(needful.split())


def test_a_revision_names_the_content() -> None:
    one, two = File(name="a", size=1, validator="x"), File(name="b", size=2)
    assert content_revision([one, two]) == content_revision([two, one])
    assert content_revision([one, two]) != content_revision([File(name="a", size=1, validator="y"), two])


def test_credentials_come_from_the_variables_of_the_hubs_own_clients() -> None:
    read = Credentials.of(
        {"HF_TOKEN": "t\n", "HF_ENDPOINT": "https://mirror/", "MODELSCOPE_DOMAIN": "www.modelscope.ai"}
    )
    assert (read.hf_token, read.hf_endpoint, read.ms_endpoint) == ("t", "https://mirror", "https://www.modelscope.ai")
    assert Credentials.of({}) == Credentials()
    assert Credentials.of({"AWS_WEB_IDENTITY_TOKEN_FILE": "/x", "AWS_PROFILE": "y"}).s3_identity == "role"
