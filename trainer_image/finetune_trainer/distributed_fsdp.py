"""FSDP2 on every device: asked for means done, or the run stops.

accelerate 1.15 turns to FSDP on GPUs alone; on CPUs it would train as DDP without a word
(accelerate/state.py, AcceleratorState.__init__). Here its state is set as it sets it on a GPU, in the trainer's own
accelerator, and after wrapping every trained weight must be a DTensor.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_trainer.failures import RunError


def insist(trainer: Trainer) -> None:
    """Make the accelerator of a trainer with `fsdp` use it on CPUs too; call it when the accelerator is made.

    Raises:
        RunError: there is one rank alone, or the ranks work together in another way.
    """
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    args, state = trainer.args, trainer.accelerator.state
    if not args.fsdp:
        return
    if state.distributed_type == DistributedType.MULTI_CPU:
        plugin = FullyShardedDataParallelPlugin(**args.fsdp_plugin_args)
        if state.mixed_precision != "no":
            plugin.set_mixed_precision(state.mixed_precision)
        state.fsdp_plugin, state.distributed_type = plugin, DistributedType.FSDP
        trainer.is_fsdp_enabled = True
    if state.distributed_type != DistributedType.FSDP:
        raise RunError(f"fsdp: the ranks would work together as {state.distributed_type}; start two ranks or more")


class InPieces(TrainerCallback):
    """Looks whether the weights are shared, when all is wrapped."""

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers passes it
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ANN401 - transformers passes it
    ) -> None:
        """Before the first step.

        Raises:
            RunError: a trained weight is whole on every rank.
        """
        check(kwargs["model"])


def check(model: nn.Module) -> None:
    """Every trained weight must lie in pieces on the ranks.

    Raises:
        RunError: with the first one that does not.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not isinstance(parameter, DTensor):
            raise RunError(f"fsdp: {name} is whole on every rank, so nothing is shared; take deepspeed: zero3")


def whole_weights(model: nn.Module, *, keep: bool) -> dict[str, Any]:
    """The weights of all ranks put together, on the CPU of the ranks that `keep` them; every rank must ask.

    A weight with two names (tied ones) is kept by its first.
    """
    kept: dict[str, Any] = {}
    seen: set[int] = set()
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) in seen:
            continue
        seen.add(id(value))
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if keep:
            kept[name] = whole.detach().cpu()
    return kept
