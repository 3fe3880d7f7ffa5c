"""`finetune chat MODEL` or `finetune chat config.yaml`: look at a model, and at what an adapter made of it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from finetune_trainer.cli.verb import TrainingVerb

if TYPE_CHECKING:
    from finetune_trainer.chat import Asked
    from finetune_trainer.config import TrainConfig

_LOOKED_AT = frozenset(
    ("model_name_or_path", "adapter_name_or_path", "template", "trust_remote_code", "infer_backend")
)
"""Keys of LLaMA-Factory's YAMLs for talking; infer_backend can only be huggingface."""


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="a folder, a name at the hub, or a YAML of LLaMA-Factory's keys"
    )
    parser.add_argument("--adapter", metavar="DIR", help="a LoRA adapter to put over it, e.g. the output_dir of a run")
    parser.add_argument("--template", help="write prompts as this template does, not as the model's own")
    parser.add_argument(
        "--prompt", action="append", help="print the answer to this and end; may be given several times"
    )
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N")


def _run(arguments: Namespace) -> int:
    """Raises ValueError: the YAML is wrong, or the model cannot be loaded."""
    cfg = _described(arguments.model)
    from finetune_trainer import quiet

    quiet.hush()  # peft's import already talks
    from finetune_trainer import chat

    asked = _asked(arguments, cfg)
    if arguments.prompt is None:
        chat.talk(asked, max_new_tokens=arguments.max_new_tokens)
        return 0
    print(*chat.answer(asked, arguments.prompt, max_new_tokens=arguments.max_new_tokens), sep="\n\n")
    return 0


def _described(model: str) -> TrainConfig | None:
    """The keys of the YAML that is named; None: a model is. Asked before torch is imported.

    Raises:
        ValueError: it says what nobody looks at, or names two adapters.
    """
    if not model.endswith((".yaml", ".yml", ".json")):
        return None
    from finetune_trainer import config

    cfg = config.load(model, complete=False)
    unused = [name for name in config.dump(cfg) if name not in _LOOKED_AT]
    if unused:
        raise ValueError(f"{model}: {', '.join(unused)}: finetune chat does not look at that; leave it out")
    if len(cfg.model.adapter_name_or_path) > 1:
        raise ValueError(f"{model}: adapter_name_or_path: one adapter can be talked to; merge them: finetune export")
    return cfg


def _asked(arguments: Namespace, cfg: TrainConfig | None) -> Asked:
    """What the command line says, over what the YAML says that it names."""
    from finetune_trainer.chat import Asked

    if cfg is None:
        return Asked(model=arguments.model, adapter=arguments.adapter, template=arguments.template)
    return Asked(
        model=str(cfg.model.model_name_or_path),
        adapter=arguments.adapter or next(iter(cfg.model.adapter_name_or_path), None),
        template=arguments.template or cfg.data.template,
        trust_remote_code=cfg.model.trust_remote_code,
    )


VERB = TrainingVerb(help="talk to a model, with an adapter or without", configure=_configure, run=_run)
