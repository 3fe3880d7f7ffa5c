"""LLaMA-Factory's GaloreArguments, ApolloArguments and BAdamArgument: optimisers that spare memory."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Names


class GaloreKeys(Group):
    """GaloreArguments."""

    use_galore: Flag = key(False, "Keep gradients in a subspace of low rank (GaLore).")
    galore_target: Names = key(("all",), "Modules that GaLore projects.")
    galore_rank: Int = key(16, "Rank of GaLore's subspace.", gt=0)
    galore_update_interval: Int = key(200, "Steps before GaLore takes another subspace.", gt=0)
    galore_scale: Float = key(2.0, "Scale of GaLore's updates.")
    galore_proj_type: Literal["std", "reverse_std", "right", "left", "full"] = key(
        "std", "Side of the matrix that GaLore projects."
    )
    galore_layerwise: Flag = key(False, "Update each layer as soon as its gradient is there.")


class ApolloKeys(Group):
    """ApolloArguments."""

    use_apollo: Flag = key(False, "Scale gradients by a state of low rank (APOLLO).")
    apollo_target: Names = key(("all",), "Modules that APOLLO projects.")
    apollo_rank: Int = key(16, "Rank of APOLLO's state.", gt=0)
    apollo_update_interval: Int = key(200, "Steps before APOLLO takes another projection.", gt=0)
    apollo_scale: Float = key(32.0, "Scale of APOLLO's updates.", ge=0)
    apollo_proj: Literal["svd", "random"] = key("random", "How APOLLO finds its projection.")
    apollo_proj_type: Literal["std", "right", "left"] = key("std", "Side of the matrix that APOLLO projects.")
    apollo_scale_type: Literal["channel", "tensor"] = key(
        "channel", "Whether APOLLO scales channels or whole tensors."
    )
    apollo_layerwise: Flag = key(False, "Update each layer as soon as its gradient is there.")
    apollo_scale_front: Flag = key(
        False,
        "Scale before the limit on the growth of norms, not after it.",
        refused="changes nothing: the limit goes by the ratio of two norms, which are scaled alike; leave it out",
    )


class BadamKeys(Group):
    """BAdamArgument."""

    use_badam: Flag = key(False, "Move one block of the model at a time (BAdam).")
    badam_mode: Literal["layer", "ratio"] = key("layer", "BAdam's blocks: layers, or a share of weights.")
    badam_start_block: Int | None = key(None, "Block that BAdam begins with.", ge=0)
    badam_switch_mode: Literal["ascending", "descending", "random", "fixed"] = key(
        "ascending", "Order of BAdam's blocks."
    )
    badam_switch_interval: Int = key(50, "Steps before BAdam takes the next block; -1 never.")
    badam_update_ratio: Float = key(0.05, "Share of weights that BAdam moves in ratio mode.", gt=0, le=1)
    badam_mask_mode: Literal["adjacent", "scatter"] = key(
        "adjacent", "Whether the moving weights lie together or apart."
    )
    badam_verbose: Int = key(0, "What BAdam tells: 0 nothing, 1 its blocks, 2 their weights.", ge=0, le=2)
