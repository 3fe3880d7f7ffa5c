"""What the keys about which weights move: adapters, frozen layers, new tokens, export must not say together."""

from __future__ import annotations

from finetune_trainer.config import zero
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import FIELDS, TrainConfig

_LORA = frozenset({"lora"})
_ADAPTER = frozenset({"lora", "oft"})
_FREEZE = frozenset({"freeze"})
_TYPES: dict[str, frozenset[str]] = {
    **dict.fromkeys(("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "use_rslora", "use_dora"), _LORA),
    **dict.fromkeys(("pissa_init", "pissa_iter", "pissa_convert"), _LORA),
    **dict.fromkeys(("oft_rank", "oft_block_size", "oft_target"), frozenset({"oft"})),
    **dict.fromkeys(("additional_target", "create_new_adapter", "adapter_name_or_path"), _ADAPTER),
    **dict.fromkeys(("freeze_trainable_modules", "freeze_extra_modules"), _FREEZE),
    "use_llama_pro": frozenset({"freeze", "lora", "oft"}),
}
"""Key -> the finetuning_types in which it has an effect."""
_NEW_TOKENS = ("resize_vocab", "add_tokens", "add_special_tokens", "new_special_tokens_config")
_EXPORT_OPTIONS = (
    "export_size",
    "export_device",
    "export_quantization_bit",
    "export_quantization_dataset",
    "export_quantization_nsamples",
    "export_quantization_maxlen",
    "export_legacy_format",
    "export_hub_model_id",
)


def _types(cfg: TrainConfig) -> Broken:
    kind = cfg.finetuning.finetuning_type
    for name, types in _TYPES.items():
        if kind not in types and _said(cfg, name):
            wanted = " or ".join(sorted(types))
            rest = (
                "merge it into the model first (finetune export)" if name == "adapter_name_or_path" else "leave it out"
            )
            yield (name, "finetuning_type"), f"only with finetuning_type: {wanted}, not {kind}; {rest}"


def _given_adapters(cfg: TrainConfig) -> Broken:
    model, given = cfg.model, cfg.model.adapter_name_or_path
    fresh = cfg.finetuning.create_new_adapter
    for name, said in (("create_new_adapter", fresh), ("adapter_folder", model.adapter_folder)):
        if said and not given:
            yield (name, "adapter_name_or_path"), "needs adapter_name_or_path, the adapter that it speaks of"
    if given and (fresh or len(given) > 1):
        keys = ("create_new_adapter" if fresh else "adapter_name_or_path", "adapter_name_or_path", "deepspeed")
        if _is_zero3(cfg):
            yield keys, "ZeRO-3 splits the model, so nothing can be merged into it; merge first (finetune export)"


def _freeze(cfg: TrainConfig) -> Broken:
    finetuning = cfg.finetuning
    layers = finetuning.freeze_trainable_layers
    if finetuning.use_llama_pro:
        if layers < 1:
            keys = ("freeze_trainable_layers", "use_llama_pro")
            yield keys, f"expected the number of blocks that were added to the model, got {layers}"
    elif finetuning.finetuning_type != "freeze":
        if _said(cfg, "freeze_trainable_layers"):
            keys = ("freeze_trainable_layers", "finetuning_type")
            yield keys, "only with finetuning_type: freeze, or use_llama_pro; leave it out"
    elif layers == 0 and not finetuning.freeze_extra_modules:
        yield ("freeze_trainable_layers", "freeze_extra_modules"), "nothing would move; expected a number of layers"


def _oft(cfg: TrainConfig) -> Broken:
    finetuning = cfg.finetuning
    if finetuning.oft_rank and finetuning.oft_block_size and "oft_block_size" in finetuning.model_fields_set:
        yield ("oft_rank", "oft_block_size"), "follows from oft_block_size; keep one of them"
    if not finetuning.oft_rank and not finetuning.oft_block_size:
        yield ("oft_block_size", "oft_rank"), "expected a width above 0, or an oft_rank above 0"


def _pissa(cfg: TrainConfig) -> Broken:
    finetuning = cfg.finetuning
    if finetuning.pissa_iter == 0:
        yield ("pissa_iter",), "expected 1 or more iterations, or -1 for the exact decomposition"
    if _said(cfg, "pissa_iter") and not finetuning.pissa_init:
        yield ("pissa_iter", "pissa_init"), "needs pissa_init: true"
    if finetuning.pissa_convert and not finetuning.pissa_init and not cfg.model.adapter_name_or_path:
        keys = ("pissa_convert", "pissa_init", "adapter_name_or_path")
        yield keys, "needs pissa_init: true, or the adapter that `finetune init-adapter --kind pissa` wrote"
    if finetuning.pissa_convert and finetuning.use_dora:
        yield ("pissa_convert", "use_dora"), "DoRA's magnitudes go with PiSSA's base alone; leave use_dora out"
    if finetuning.pissa_init:
        yield from _pissa_init(cfg)


def _pissa_init(cfg: TrainConfig) -> Broken:
    finetuning, wrote = cfg.finetuning, "write adapter and base with `finetune init-adapter --kind pissa` first"
    if cfg.model.adapter_name_or_path and not finetuning.create_new_adapter:
        keys = ("pissa_init", "adapter_name_or_path", "create_new_adapter")
        yield keys, "the given adapter has begun already; leave pissa_init out, or say create_new_adapter: true"
    if finetuning.stage == "ppo":
        yield (
            ("pissa_init", "stage"),
            "not in stage ppo, whose reference is the model without the adapter; leave it out",
        )
    if _is_zero3(cfg):
        yield ("pissa_init", "deepspeed"), f"not under ZeRO-3, which splits the weights; take zero2, or {wrote}"
    if finetuning.pissa_iter != -1 and not finetuning.pissa_convert:
        keys = ("pissa_convert", "pissa_init", "pissa_iter")
        told = "the fast decomposition draws random numbers, so the adapter would not fit the model again that it is"
        yield keys, f"{told} saved for; write pissa_convert: true, or pissa_iter: -1"


def _new_tokens(cfg: TrainConfig) -> Broken:
    model, finetuning = cfg.model, cfg.finetuning
    if model.new_special_tokens_config and model.add_special_tokens:
        keys = ("add_special_tokens", "new_special_tokens_config")
        yield keys, "has no effect beside new_special_tokens_config; write the tokens into that file"
    if model.init_special_tokens != "noise_init" and not model.new_special_tokens_config:
        keys = ("init_special_tokens", "new_special_tokens_config")
        yield keys, "needs new_special_tokens_config, a file with the tokens' descriptions"
    said = [name for name in _NEW_TOKENS if getattr(model, name)]
    if said and finetuning.finetuning_type == "freeze" and not finetuning.freeze_extra_modules:
        looked_at = (said[0], "finetuning_type", "freeze_extra_modules")
        yield looked_at, "new tokens would never be learned; write freeze_extra_modules: embed_tokens,lm_head"


def _export(cfg: TrainConfig) -> Broken:
    if cfg.model.export_dir and cfg.training.output_dir:
        yield ("export_dir", "output_dir"), "belongs to a file for `finetune export`; leave it out of a training"
    if not cfg.model.export_dir:
        for name in (*_EXPORT_OPTIONS, "infer_dtype"):
            if _said(cfg, name):
                yield (name, "export_dir"), "speaks of `finetune export`, which needs export_dir; leave it out here"
    elif cfg.model.export_quantization_bit is None:
        for name in _EXPORT_OPTIONS[3:6]:
            if _said(cfg, name):
                yield (name, "export_quantization_bit"), "needs export_quantization_bit"
    else:
        yield from _export_quantised(cfg)


def _export_quantised(cfg: TrainConfig) -> Broken:
    if cfg.model.export_quantization_bit not in (2, 3, 4, 8):
        yield ("export_quantization_bit",), "expected 2, 3, 4 or 8"
    if not cfg.model.export_quantization_dataset:
        yield ("export_quantization_dataset", "export_quantization_bit"), "missing; texts that calibrate the weights"
    if cfg.model.adapter_name_or_path:
        keys = ("export_quantization_bit", "adapter_name_or_path")
        yield keys, "merge the adapters first, without it, and quantise the result"


def _is_zero3(cfg: TrainConfig) -> bool:
    try:
        return zero.stage(cfg.training.deepspeed) == 3
    except ValueError:  # another rule tells
        return False


def _said(cfg: TrainConfig, name: str) -> bool:
    attribute, field = FIELDS[name]
    return bool(getattr(getattr(cfg, attribute), name) != field.default)


RULES: tuple[Rule, ...] = (_types, _given_adapters, _freeze, _oft, _pissa, _new_tokens, _export)
