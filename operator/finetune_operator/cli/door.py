"""Without a cluster: all that the operator checks at its door, the cluster's own share taken as given."""

from __future__ import annotations

from finetune_operator import checks, spec
from finetune_operator.cli.manifest import ManifestInvalid, Source
from finetune_operator.network_profiles import NetworkProfile, built_in
from finetune_operator.observe import Observed, ObservedClaim
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation


def admit(source: Source, settings: Settings) -> FineTuneJob:
    """Parse and check as the operator does; claims exist, and so does a network profile or a gang scheduler where none
    is known.

    Raises:
        ManifestInvalid: every violation at its line.
    """
    job = parse(source)
    violations = checks.check(job, _claims(job), _with_gangs(job, _with_profile(job, settings)))
    if violations:
        raise _invalid(source, violations)
    return job


def parse(source: Source) -> FineTuneJob:
    """Parse alone: what is wrong whatever the cluster and the operator's settings are.

    Raises:
        ManifestInvalid: every violation at its line.
    """
    try:
        return spec.parse(source.body)
    except spec.SpecInvalid as error:
        raise _invalid(source, error.violations) from error


def notes(job: FineTuneJob, settings: Settings) -> tuple[str, ...]:
    """What a person should know about an accepted job."""
    profile = job.spec.network.profile
    if profile is None or job.spec.resources.nodes == 1 or settings.network_profiles != built_in():
        return job.notes
    where = "name the operator's values in FINETUNE_OPERATOR_FILE to see them"
    known = "may be changed by its owner" if profile in settings.network_profiles else "are not known here"
    return (*job.notes, f"the settings of the network profile {profile} {known}; {where}")


def _invalid(source: Source, violations: tuple[Violation, ...]) -> ManifestInvalid:
    return ManifestInvalid("\n".join(source.at(violation.path, violation.message) for violation in violations))


def _claims(job: FineTuneJob) -> Observed:
    """Every claim that the job names, as it should be."""
    modes = ("ReadWriteMany",)
    return Observed(
        claims={name: ObservedClaim(name=name, found=True, access_modes=modes) for name in spec.claims(job.spec)}
    )


def _with_profile(job: FineTuneJob, settings: Settings) -> Settings:
    """The owner's profiles; where they are not known here, also the one that the job names."""
    profile = job.spec.network.profile
    if profile is None or profile in settings.network_profiles or settings.network_profiles != built_in():
        return settings
    return settings.model_copy(update={"network_profiles": {**settings.network_profiles, profile: NetworkProfile()}})


def _with_gangs(job: FineTuneJob, settings: Settings) -> Settings:
    """The owner's gang scheduler; where it is not known here, Volcano, which takes all that a job can say."""
    if job.spec.scheduling.gang is None or settings.gang_scheduler is not None:
        return settings
    return settings.model_copy(update={"gang_scheduler": "volcano"})
