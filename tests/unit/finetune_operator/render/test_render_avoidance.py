"""Nodes that an attempt must not get, beside the affinity that a user asks for."""

from finetune_operator.render.avoidance import avoiding

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NOT_A = {"key": "metadata.name", "operator": "NotIn", "values": ["a"]}
NOT_B = {"key": "metadata.name", "operator": "NotIn", "values": ["b"]}


def test_without_such_nodes_nothing_is_added() -> None:
    assert avoiding({"containers": []}, ()) == {"containers": []}


def test_every_node_is_a_field_of_its_own() -> None:
    made = avoiding({}, ("a", "b"))["affinity"]["nodeAffinity"][REQUIRED]
    assert made == {"nodeSelectorTerms": [{"matchFields": [NOT_A, NOT_B]}]}


def test_each_of_the_users_alternatives_keeps_off_them() -> None:
    zones = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in ("x", "y")]
    preferred = [{"weight": 1, "preference": zones[0]}]
    node_affinity = {
        REQUIRED: {"nodeSelectorTerms": zones},
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }
    spec = {"affinity": {"nodeAffinity": node_affinity, "podAffinity": {"kept": True}}}
    made = avoiding(spec, ("a",))["affinity"]
    assert made["podAffinity"] == {"kept": True}
    assert made["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == preferred
    assert made["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] == [{**zone, "matchFields": [NOT_A]} for zone in zones]
    assert "matchFields" not in zones[0], "the user's own is left as it is"
