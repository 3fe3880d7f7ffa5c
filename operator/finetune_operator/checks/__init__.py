"""Pure: the policies at the door, one after the other; each takes (job, observed, settings) and yields violations.

Law: what can be refused before anything is rendered, and needs more than the manifest's shape: the claims as observed,
the owner's settings, the trainer's templates. Decides nothing else; knows neither manifests nor kopf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from finetune_operator.checks import claims, environment, memory, overlay, privilege, references, scheduling, support
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

__all__ = ["CHECKS", "EDITED", "MEMORY", "Check", "at_the_door", "check"]

Check = Callable[[FineTuneJob, Observed, Settings], Iterable[Violation]]

MEMORY: Check = memory.fits
"""GPUs are not taken, nor gigabytes fetched, for what cannot fit."""
EDITED: tuple[Check, ...] = (
    environment.entries_well_formed,
    environment.names_not_reserved,  # ours and the training operator's win silently otherwise
    environment.no_plain_secrets,
    overlay.well_formed,
    overlay.leaves_ours_alone,
    overlay.every_field_known,  # the training operator would drop it silently
    overlay.environment_well_formed,
    references.of_this_namespace,
    privilege.no_host_path,
    privilege.no_privilege,
    privilege.no_foreign_identity,
    privilege.network_allowed,
)
"""Of fields that take effect with the next attempt when they are edited: asked before each one, or an edit would bring
past the door what the door refuses."""
CHECKS: tuple[Check, ...] = (
    support.adapter_to_merge,
    support.datasets_alike,
    support.template_known,  # the trainer would refuse it after the model is fetched
    support.launcher_fits,  # the deepspeed launcher starts DeepSpeed's ranks only
    support.network_profile_known,
    support.resources_said_once,
    support.devices_agree,
    support.kept_of_what,
    scheduling.gang_possible,
    scheduling.priority_of_a_queue,
    MEMORY,
    claims.found,
    claims.shared_by_all_nodes,  # a ReadWriteOnce claim can't be mounted on a second node
    claims.writable_output,
    claims.output_for_many_nodes,  # ranks that save to different disks lose the checkpoint
    *EDITED,
)
"""In the order in which people read them."""


def check(
    job: FineTuneJob, observed: Observed, settings: Settings, policies: Iterable[Check] = CHECKS
) -> tuple[Violation, ...]:
    """Everything that stands against the job; empty when it may be planned."""
    return tuple(violation for policy in policies for violation in policy(job, observed, settings))


def at_the_door(job: FineTuneJob, observed: Observed, settings: Settings, *, starts: bool) -> tuple[Violation, ...]:
    """What stands against a pass over the job, whose plan `starts` pods.

    A job that has started is not sent away any more, and yet no edit brings into its next pods what the door refuses.
    """
    if observed.frozen is None:
        return check(job, observed, settings)
    return check(job, observed, settings, EDITED) if starts else ()
