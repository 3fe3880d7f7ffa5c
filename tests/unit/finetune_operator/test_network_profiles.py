"""The profiles that every operator knows, and the owner's over them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from finetune_operator.network_profiles import NetworkProfile, built_in
from finetune_operator.settings import Settings


def settings(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    return Settings.from_environment({"FINETUNE_OPERATOR_FILE": str(file)})


def test_four_fabrics_are_known_without_a_word() -> None:
    assert sorted(Settings().network_profiles) == ["efa", "infiniband", "roce", "tcp"]


def test_none_of_them_takes_privilege_or_names_what_differs_between_machines() -> None:
    named = {"NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NCCL_IB_HCA", "NCCL_IB_GID_INDEX"}
    for profile in built_in().values():
        assert profile.privilege is None
        assert (profile.resources, profile.annotations) == ({}, {})
        assert not named & profile.env.keys()


@pytest.mark.parametrize("name", ["roce", "infiniband"])
def test_a_job_that_asks_for_rdma_does_not_get_tcp_in_silence(name: str) -> None:
    profile = built_in()[name]
    assert (profile.env["NCCL_NET"], profile.device, profile.memlock) == ("IB", "/dev/infiniband", -1)


def test_the_owner_adds_to_a_profile_takes_from_it_and_names_others(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        "network_profiles:\n"
        "  roce: {env: {NCCL_IB_HCA: mlx5_0, NCCL_NET: null}, resources: {rdma/hca: '1'}, min_memlock: 64Gi}\n"
        "  storage: {annotations: {k8s.v1.cni.cncf.io/networks: fast}}\n",
    ).network_profiles
    roce = found["roce"]
    assert roce.env == {"NCCL_IB_HCA": "mlx5_0"}
    assert (roce.device, roce.memlock, roce.resources) == ("/dev/infiniband", 64 << 30, {"rdma/hca": "1"})
    assert found["storage"] == NetworkProfile(annotations={"k8s.v1.cni.cncf.io/networks": "fast"})
    assert found["tcp"] == built_in()["tcp"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("network_profiles: {roce: {env: {NCCL_IB_HCA: 1}}}", "network_profiles.roce.env.NCCL_IB_HCA"),
        ("network_profiles: {roce: {enw: {}}}", "network_profiles.roce.enw"),
        ("network_profiles: {roce: fast}", "network_profiles.roce"),
        ("network_profiles: {mine: {min_memlock: much}}", "expected a quantity of memory such as 80Gi, got 'much'"),
        ("network_profiles: {mine: {resources: {cpu: '4'}}}", "cpu is the job's to say"),
    ],
    ids=["a number", "an unknown field", "no map", "no quantity", "what a job says"],
)
def test_wrong_values_are_refused_with_their_place(tmp_path: Path, said: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(tmp_path, said)
    assert words in str(caught.value)
