"""ZeRO-2 with round_robin_gradients: which piece of which weight a rank has.

DeepSpeed 0.19.8 deals the weights round the ranks, and writes into its checkpoints where each would be if it had not
(DeepSpeedZeroOptimizer._link_all_hp_params goes by `bit16_groups`; the flat tensors are in the order of
`round_robin_bit16_groups`). Its universal checkpoint would give weights each other's values, without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from deepspeed.checkpoint import DeepSpeedCheckpoint
from deepspeed.checkpoint.constants import (
    BASE_OPTIMIZER_STATE,
    OPTIMIZER_STATE_DICT,
    PARAM_ALIGNMENT_PADDINGS,
    PARAM_SHAPES,
    PARAM_SLICE_MAPPINGS,
)
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from deepspeed.utils.mixed_precision_linkage import link_hp_params
from deepspeed.utils.tensor_fragment import fragment_address


def is_used(parts: Path) -> bool:
    """Whether the run that wrote these parts dealt its weights round the ranks."""
    model = min(parts.glob("mp_rank_*_model_states.pt"), default=None)
    if model is None:  # ZeRO-3 deals nothing
        return False
    config = torch.load(model, map_location="cpu", mmap=True, weights_only=False).get("ds_config") or {}
    return bool((config.get("zero_optimization") or {}).get("round_robin_gradients"))


def slices(lengths: Mapping[str, int], paddings: Sequence[int], *, size: int, rank: int) -> dict[str, tuple[int, int]]:
    """Weight -> where its piece begins in a rank's part, and the piece's length.

    Args:
        lengths: elements of each weight, in the order of the flat tensor.
        paddings: elements that are left free after each.
        size: of a rank's part.
        rank: whose part.
    """
    begin, end = rank * size, (rank + 1) * size
    found: dict[str, tuple[int, int]] = {}
    at = 0
    for (name, length), padding in zip(lengths.items(), paddings, strict=True):
        first, last = max(at, begin), min(at + length, end)
        if first < last:
            found[name] = (first - begin, last - first)
        at += length + padding
    return found


class Unshuffled(DeepSpeedCheckpoint):  # type: ignore[misc] # deepspeed has no types
    """A checkpoint whose parts say what they hold."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        model = torch.load(self.mp_rank_files[0], map_location="cpu", mmap=True, weights_only=False)
        self._lengths = [
            {name: int(torch.Size(shape).numel()) for name, shape in group.items()} for group in model[PARAM_SHAPES]
        ]

    def get_zero_checkpoint_state(
        self,
        pp_index: int,
        tp_index: int,
        dp_index: int,
        strip_tensor_paddings: bool = True,  # noqa: FBT001
    ) -> dict[str, Any]:
        """One rank's part."""
        part: dict[str, Any] = super().get_zero_checkpoint_state(pp_index, tp_index, dp_index, strip_tensor_paddings)
        if self.dp_degree > 1:
            held = part[OPTIMIZER_STATE_DICT]
            held[PARAM_SLICE_MAPPINGS] = [self._group(number, held, dp_index) for number in range(len(self._lengths))]
        return part

    def _group(self, number: int, held: Mapping[str, Any], rank: int) -> dict[str, fragment_address]:
        lengths = self._lengths[number]
        paddings = (held.get(PARAM_ALIGNMENT_PADDINGS) or {number: [0] * len(lengths)})[number]
        found = slices(lengths, paddings, size=self._size(number), rank=rank)
        return {name: fragment_address(start=start, numel=numel) for name, (start, numel) in found.items()}

    def _size(self, number: int) -> int:
        """Of a part; the last rank's is cut short in the file, the first one's is whole."""
        path = self.get_zero_files(0, 0, 0)[0]
        first = torch.load(path, map_location="cpu", mmap=True, weights_only=False)[OPTIMIZER_STATE_DICT]
        return int(first[BASE_OPTIMIZER_STATE]["state"][number]["exp_avg"].numel())


def relink() -> None:
    """Make this process's ZeRO-1 and ZeRO-2 optimisers find each weight's piece where it is, to load it there."""
    theirs = DeepSpeedZeroOptimizer._link_all_hp_params

    def linked(self: DeepSpeedZeroOptimizer) -> None:
        theirs(self)
        for number in range(len(self.optimizer.param_groups)):
            _link(self, number)

    DeepSpeedZeroOptimizer._link_all_hp_params = linked


def _link(optimizer: DeepSpeedZeroOptimizer, number: int) -> None:
    """As `_link_all_hp_params` does it for a group, always with the weights' true places."""
    group = optimizer.real_dp_process_group[number]
    size = optimizer.partition_size[number]
    dealt = zip(optimizer.round_robin_bit16_groups[number], optimizer.round_robin_bit16_offsets[number], strict=True)
    places = {id(weight): place for weight, place in dealt}
    link_hp_params(
        lp_param_list=optimizer.bit16_groups[number],
        flat_hp_partition=optimizer.single_partition_of_fp32_groups[number],
        gradient_dict=optimizer.averaged_gradients,
        offload_gradient_dict=optimizer.offload_gradient_dict,
        use_offload=optimizer.cpu_offload,
        param_group_index=number,
        partition_start=torch.distributed.get_rank(group) * size,
        partition_size=size,
        dp_group=group,
        param_offsets=[places[id(weight)] for weight in optimizer.bit16_groups[number]],
    )
