"""LLaMA-Factory's GaloreArguments, ApolloArguments and BAdamArgument: optimisers that spare memory."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Names


class GaloreKeys(Group):
    """GaloreArguments."""

    use_galore: Flag = key(False, "Keep gradients in a subspace of low rank (GaLore).", built=False)
    galore_target: Names = key(("all",), "Modules that GaLore projects.", built=False)
    galore_rank: Int = key(16, "Rank of GaLore's subspace.", built=False)
    galore_update_interval: Int = key(200, "Steps before GaLore takes another subspace.", built=False)
    galore_scale: Float = key(2.0, "Scale of GaLore's updates.", built=False)
    galore_proj_type: Literal["std", "reverse_std", "right", "left", "full"] = key(
        "std", "Side of the matrix that GaLore projects.", built=False
    )
    galore_layerwise: Flag = key(False, "Update each layer as soon as its gradient is there.", built=False)


class ApolloKeys(Group):
    """ApolloArguments."""

    use_apollo: Flag = key(False, "Scale gradients by a state of low rank (APOLLO).", built=False)
    apollo_target: Names = key(("all",), "Modules that APOLLO projects.", built=False)
    apollo_rank: Int = key(16, "Rank of APOLLO's state.", built=False)
    apollo_update_interval: Int = key(200, "Steps before APOLLO takes another projection.", built=False)
    apollo_scale: Float = key(32.0, "Scale of APOLLO's updates.", built=False)
    apollo_proj: Literal["svd", "random"] = key("random", "How APOLLO finds its projection.", built=False)
    apollo_proj_type: Literal["std", "right", "left"] = key(
        "std", "Side of the matrix that APOLLO projects.", built=False
    )
    apollo_scale_type: Literal["channel", "tensor"] = key(
        "channel", "Whether APOLLO scales channels or whole tensors.", built=False
    )
    apollo_layerwise: Flag = key(False, "Update each layer as soon as its gradient is there.", built=False)
    apollo_scale_front: Flag = key(False, "Limit the growth of norms before scaling.", built=False)


class BadamKeys(Group):
    """BAdamArgument."""

    use_badam: Flag = key(False, "Move one block of the model at a time (BAdam).", built=False)
    badam_mode: Literal["layer", "ratio"] = key("layer", "BAdam's blocks: layers, or a share of weights.", built=False)
    badam_start_block: Int | None = key(None, "Block that BAdam begins with.", built=False)
    badam_switch_mode: Literal["ascending", "descending", "random", "fixed"] = key(
        "ascending", "Order of BAdam's blocks.", built=False
    )
    badam_switch_interval: Int = key(50, "Steps before BAdam takes the next block; -1 never.", built=False)
    badam_update_ratio: Float = key(0.05, "Share of weights that BAdam moves in ratio mode.", built=False)
    badam_mask_mode: Literal["adjacent", "scatter"] = key(
        "adjacent", "Whether the moving weights lie together or apart.", built=False
    )
    badam_verbose: Int = key(0, "How much BAdam tells: 0, 1 or 2.", built=False)
