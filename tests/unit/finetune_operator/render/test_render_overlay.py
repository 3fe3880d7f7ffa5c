"""spec.podTemplate over ours: what merges, what is replaced, what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from finetune_operator.render.overlay import OverlayInvalid, merge

OURS: dict[str, Any] = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {
        "nodeSelector": {"zone": "x"},
        "tolerations": [{"key": "gpu"}],
        "containers": [
            {
                "name": "pytorch",
                "command": ["finetune", "supervise"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "volumeMounts": [{"name": "run", "mountPath": "/run/finetune"}],
            }
        ],
        "volumes": [{"name": "run", "emptyDir": {}}, {"name": "dshm", "emptyDir": {"medium": "Memory"}}],
    },
}


def merged(patch: dict[str, Any]) -> dict[str, Any]:
    return merge(OURS, patch, keep="pytorch")


def container(patch: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = merged({"spec": {"containers": [{"name": "pytorch", **patch}]}})["spec"]["containers"][0]
    return found


def test_an_empty_overlay_changes_nothing() -> None:
    assert merged({}) == OURS


def test_neither_side_is_changed() -> None:
    patch = {"spec": {"containers": [{"name": "pytorch", "env": [{"name": "C", "value": "3"}]}], "tolerations": [{}]}}
    ours, theirs = copy.deepcopy(OURS), copy.deepcopy(patch)
    merged(patch)
    assert (ours, theirs) == (OURS, patch)


def test_maps_merge_and_null_takes_a_key_away() -> None:
    assert merged({"spec": {"nodeSelector": {"disk": "ssd"}}})["spec"]["nodeSelector"] == {"zone": "x", "disk": "ssd"}
    assert merged({"spec": {"nodeSelector": {"zone": None}}})["spec"]["nodeSelector"] == {}
    assert "nodeSelector" not in merged({"spec": {"nodeSelector": None}})["spec"]


def test_null_in_a_map_that_we_do_not_have_leaves_no_null() -> None:
    assert merged({"spec": {"dnsConfig": {"options": None}}})["spec"]["dnsConfig"] == {}


def test_variables_merge_by_name_and_keep_their_order() -> None:
    env = container({"env": [{"name": "C", "value": "3"}, {"name": "A", "value": "9"}]})["env"]
    assert env == [{"name": "A", "value": "9"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]


def test_a_variable_from_a_secret_gives_up_its_value() -> None:
    source = {"secretKeyRef": {"name": "s", "key": "k"}}
    assert container({"env": [{"name": "A", "valueFrom": source}]})["env"][0] == {"name": "A", "valueFrom": source}


def test_a_volume_of_another_source_gives_up_the_old_one() -> None:
    volumes = merged({"spec": {"volumes": [{"name": "run", "hostPath": {"path": "/data"}}]}})["spec"]["volumes"]
    assert volumes[0] == {"name": "run", "hostPath": {"path": "/data"}}


def test_a_volume_of_the_same_source_merges() -> None:
    volumes = merged({"spec": {"volumes": [{"name": "dshm", "emptyDir": {"sizeLimit": "1Gi"}}]}})["spec"]["volumes"]
    assert volumes[1] == {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}


def test_mounts_merge_by_their_path() -> None:
    mounts = container(
        {"volumeMounts": [{"name": "other", "mountPath": "/run/finetune"}, {"name": "x", "mountPath": "/x"}]}
    )
    assert mounts["volumeMounts"] == [
        {"name": "other", "mountPath": "/run/finetune"},
        {"name": "x", "mountPath": "/x"},
    ]


def test_another_container_stands_beside_ours() -> None:
    containers = merged({"spec": {"containers": [{"name": "sidecar", "image": "s:1"}]}})["spec"]["containers"]
    assert [one["name"] for one in containers] == ["pytorch", "sidecar"]
    assert containers[0] == OURS["spec"]["containers"][0]


def test_init_containers_where_we_have_none() -> None:
    first = {"name": "warm", "image": "w:1"}
    assert merged({"spec": {"initContainers": [first]}})["spec"]["initContainers"] == [first]


def test_tolerations_are_appended_and_other_lists_replaced() -> None:
    assert merged({"spec": {"tolerations": [{"key": "spot"}]}})["spec"]["tolerations"] == [
        {"key": "gpu"},
        {"key": "spot"},
    ]
    assert container({"command": ["sleep", "1"]})["command"] == ["sleep", "1"]


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"spec": {"containers": None}}, "spec.podTemplate.spec.containers"),
        ({"spec": None}, "spec.podTemplate.spec.containers"),
        ({"spec": {"containers": [{"image": "x"}]}}, "spec.podTemplate.spec.containers[0]"),
        ({"spec": {"containers": ["x"]}}, "spec.podTemplate.spec.containers[0]"),
        ({"spec": {"containers": {"name": "x"}}}, "spec.podTemplate.spec.containers"),
        ({"spec": {"nodeSelector": ["x"]}}, "spec.podTemplate.spec.nodeSelector"),
        ({"spec": "x"}, "spec.podTemplate.spec"),
        (
            {"spec": {"containers": [{"name": "pytorch", "env": [{"value": "1"}]}]}},
            "spec.podTemplate.spec.containers[0].env[0]",
        ),
    ],
)
def test_what_can_not_be_merged_is_told_with_its_path(patch: dict[str, Any], path: str) -> None:
    with pytest.raises(OverlayInvalid) as caught:
        merged(patch)
    assert caught.value.path == path
