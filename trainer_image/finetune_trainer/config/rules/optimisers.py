"""What the keys about optimisers and schedules must not say together."""

from __future__ import annotations

from finetune_trainer.config.optim_values import (
    ADAMW,
    OPTIM_ARGS,
    SCHEDULE_ARGS,
    WITHOUT_BETAS,
    WITHOUT_WARMUP,
    effective_optim,
    is_layerwise,
    method,
    methods,
    optim_arguments,
)
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig

BASES: dict[str, frozenset[str]] = {
    "galore": ADAMW | {"adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit", "adafactor"},
    "apollo": ADAMW,
    "badam": ADAMW | {"adafactor", "sgd", "adagrad", "rmsprop"},
    "adam_mini": ADAMW,
    "muon": ADAMW,
}
"""Method -> the values of `optim` that it can be built upon; LoRA+ takes all but those that choose their weights."""


def _one_method(cfg: TrainConfig) -> Broken:
    first, *others = methods(cfg).values() or ("",)
    for key in others:
        yield (key, first), f"not together with {first}; keep one of them"


def _adapters(cfg: TrainConfig) -> Broken:
    kind = cfg.finetuning.finetuning_type
    for name, key in methods(cfg).items():
        if name in ("galore", "apollo", "badam", "adam_mini") and kind in ("lora", "oft"):
            yield (key, "finetuning_type"), f"needs whole weights: finetuning_type full or freeze, not {kind}"
        if name == "loraplus" and kind != "lora":
            yield (key, "finetuning_type"), f"only with finetuning_type: lora, not {kind}"


def _base(cfg: TrainConfig) -> Broken:
    optim, chosen = effective_optim(cfg), method(cfg)
    if chosen is None:
        return
    key = methods(cfg)[chosen]
    if chosen == "loraplus":
        if optim.startswith(("galore", "apollo", "lomo", "adalomo")):
            yield ("optim", key), f"{optim} chooses its weights by itself; with {key} take adamw_torch"
    elif chosen == "badam" and cfg.finetuning.badam_mode == "ratio" and optim not in ADAMW:
        yield ("optim", "badam_mode"), "badam_mode: ratio is an Adam by itself; leave optim out"
    elif optim not in BASES[chosen]:
        yield ("optim", key), f"{optim} has no effect with {key}, which takes {', '.join(sorted(BASES[chosen]))}"


def _adafactor(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if training.adafactor and "optim" in training.model_fields_set and training.optim != "adafactor":
        yield ("adafactor", "optim"), f"contradicts optim: {training.optim}; keep one of them"


def _optim_args(cfg: TrainConfig) -> Broken:
    optim, said = effective_optim(cfg), cfg.training.optim_args
    try:
        given = optim_arguments(said)
    except ValueError as error:
        yield ("optim_args",), str(error)
        return
    known = OPTIM_ARGS.get(optim, ()) if method(cfg) in (None, "loraplus") else ()
    for name, value in given.items():
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            yield ("optim_args", "optim"), f"{name} has no effect with optim: {optim}, which {takes}"
        elif name in ("kahan_sum", "decouple_lr") and value.lower() in ("false", "0"):
            yield ("optim_args",), f"{name}={value} would be read as true; leave it out"


def _optim_targets(cfg: TrainConfig) -> Broken:
    optim, targets = effective_optim(cfg), cfg.training.optim_target_modules
    projects = optim.startswith(("galore", "apollo"))
    if projects and not targets:
        yield (
            ("optim_target_modules", "optim"),
            f"missing: the layers that {optim} projects; all takes all linear ones",
        )
    if targets and not projects:
        yield ("optim_target_modules", "optim"), f"has no effect with optim: {optim}; only galore_ and apollo_ ones"


def _adam(cfg: TrainConfig) -> Broken:
    optim, training = effective_optim(cfg), cfg.training
    without = optim in WITHOUT_BETAS
    for name, default in (("adam_beta1", 0.9), ("adam_beta2", 0.999), ("adam_epsilon", 1e-8)):
        deaf = without or (name == "adam_epsilon" and "lion" in optim)
        if deaf and getattr(training, name) != default:
            yield (name, "optim"), f"has no effect with optim: {optim}; leave it out"


def _weight_decay(cfg: TrainConfig) -> Broken:
    if cfg.training.weight_decay <= 0:
        return
    if effective_optim(cfg) in ("lomo", "adalomo"):
        yield ("weight_decay", "optim"), f"has no effect with optim: {cfg.training.optim}; leave it out"
    if cfg.finetuning.use_badam and cfg.finetuning.badam_mode == "ratio":
        yield ("weight_decay", "badam_mode"), "has no effect with badam_mode: ratio; leave it out, or take layer"


def _layerwise(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if not is_layerwise(cfg):
        return
    said = [key for key in ("galore_layerwise", "apollo_layerwise") if getattr(cfg.finetuning, key)]
    why, name = ("steps in the backward pass", said[0] if said else "optim")
    if training.gradient_accumulation_steps != 1:
        yield ("gradient_accumulation_steps", name), f"must be 1: {name} {why}"
    if training.fp16:
        yield ("fp16", name), f"{name} {why}, before a scaled gradient can be put right; take bf16"
    if "max_grad_norm" in training.model_fields_set and training.max_grad_norm > 0:
        yield ("max_grad_norm", name), f"has no effect: {name} {why}; write 0, or leave it out"


def _whole_weights(cfg: TrainConfig) -> Broken:
    optim, training = effective_optim(cfg), cfg.training
    keys = list(methods(cfg).items())
    if optim.startswith(("galore", "apollo", "schedule_free", "lomo", "adalomo")) and not keys:
        keys = [("galore", "optim")]
    for name, key in keys:
        if training.deepspeed and name != "loraplus":
            yield (key, "deepspeed"), f"{_NEEDS} {_named(cfg, key)}: leave deepspeed out and take DDP{_or_fsdp(name)}"
        if training.fsdp and name in ("galore", "apollo", "badam", "adam_mini"):
            yield (
                (key, "fsdp"),
                f"FSDP hands pieces of weights to {_named(cfg, key)}, which needs whole ones; take DDP",
            )


_NEEDS = "DeepSpeed hands flat pieces of weights to the optimiser, not the whole ones that it needs for"


def _named(cfg: TrainConfig, key: str) -> str:
    return f"optim: {cfg.training.optim}" if key == "optim" else key


def _or_fsdp(name: str) -> str:
    return " or fsdp" if name == "muon" else ""


def _apollo(cfg: TrainConfig) -> Broken:
    """The package divides by channels of the shorter side, whatever side is projected."""
    keys = cfg.finetuning
    if keys.use_apollo and keys.apollo_proj_type != "std" and keys.apollo_scale_type == "channel":
        yield ("apollo_proj_type", "apollo_scale_type"), "channels are std's; take std, or apollo_scale_type: tensor"


def _badam(cfg: TrainConfig) -> Broken:
    keys = cfg.finetuning
    if not keys.use_badam:
        return
    if keys.badam_start_block is not None and keys.badam_switch_mode == "random":
        yield ("badam_start_block", "badam_switch_mode"), "random draws its first block too; leave it out"
    if keys.badam_switch_interval == 0 or keys.badam_switch_interval < -1:
        yield ("badam_switch_interval",), "expected at least 1 step, or -1 to stay with the first block"
    if keys.badam_mode == "ratio":
        for name in ("badam_start_block", "badam_switch_mode"):
            if getattr(keys, name) != type(keys).model_fields[name].default:
                yield (name, "badam_mode"), "has no effect with badam_mode: ratio"


def _plateau(cfg: TrainConfig) -> Broken:
    kind = cfg.training.lr_scheduler_type
    if kind in ("reduce_lr_on_plateau", "greedy") and cfg.training.eval_strategy == "no":
        yield ("lr_scheduler_type", "eval_strategy"), f"{kind} goes by evaluations; set eval_strategy"
    if kind in ("reduce_lr_on_plateau", "greedy") and cfg.training.deepspeed:
        yield ("lr_scheduler_type", "deepspeed"), f"{kind} can't be driven through DeepSpeed; take cosine or DDP"


def _schedule_args(cfg: TrainConfig) -> Broken:
    kind = cfg.training.lr_scheduler_type
    known = SCHEDULE_ARGS.get(kind, ())
    for name in cfg.training.lr_scheduler_kwargs or {}:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            yield ("lr_scheduler_kwargs", "lr_scheduler_type"), f"{kind} knows no {name}; it {takes}"


def _warmup(cfg: TrainConfig) -> Broken:
    training = cfg.training
    for name in ("warmup_steps", "warmup_ratio"):
        said = getattr(training, name)
        free = effective_optim(cfg) in ("schedule_free_adamw", "schedule_free_sgd") and not method(cfg)
        if said > 0 and free and said < 1:
            yield (
                (name, "optim"),
                f"{training.optim} warms up by itself and takes no share; write warmup_steps: <steps>",
            )
        elif said > 0 and not free and training.lr_scheduler_type in WITHOUT_WARMUP:
            other = "constant_with_warmup" if training.lr_scheduler_type == "constant" else "another lr_scheduler_type"
            yield (name, "lr_scheduler_type"), f"{training.lr_scheduler_type} does not warm up; take {other}"


RULES: tuple[Rule, ...] = (
    _one_method,
    _adapters,
    _base,
    _adafactor,
    _optim_args,
    _optim_targets,
    _adam,
    _weight_decay,
    _layerwise,
    _whole_weights,
    _apollo,
    _badam,
    _plateau,
    _schedule_args,
    _warmup,
)
