"""Differences of two states of an object, and what people have added to one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.core.kubernetes.differences import differences
from tasks.core.kubernetes.managed_fields import set_by_people


def an_object(kind: str = "Deployment", **parts: Any) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": "apps/v1", "metadata": {"name": "web"}, **parts}


def told(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(each.path, each.before, each.after) for each in differences(before, after)]


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    return an_object(spec={"template": {"spec": {"containers": list(items)}}})


def test_what_the_server_keeps_does_not_count() -> None:
    before = an_object(status={"replicas": 1}, spec={"replicas": 1})
    after = an_object(status={"replicas": 2}, spec={"replicas": 1})
    after["metadata"] |= {"resourceVersion": "2", "generation": 3, "managedFields": [{}]}
    after["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "2"}
    assert told(before, after) == []


@pytest.mark.parametrize("nothing", [None, {}, []])
def test_nothing_is_the_same_as_no_field(nothing: Any) -> None:
    assert told(an_object(spec={"volumes": nothing}), an_object(spec={})) == []


@pytest.mark.parametrize("value", [0, False, ""])
def test_a_value_that_is_false_is_not_nothing(value: Any) -> None:
    assert told(an_object(spec={}), an_object(spec={"a": value})) == [("spec.a", None, value)]


def test_fields_are_named_by_their_paths() -> None:
    before = containers({"name": "fpm", "image": "a", "env": [{"name": "A", "value": "1"}]})
    env = [{"name": "B", "value": "1"}]
    after = containers({"name": "new"}, {"name": "fpm", "image": "b", "env": env})
    at = "spec.template.spec.containers"
    assert told(before, after) == [
        (f"{at}[fpm].env[A]", {"name": "A", "value": "1"}, None),
        (f"{at}[fpm].env[B]", None, {"name": "B", "value": "1"}),
        (f"{at}[fpm].image", "a", "b"),
        (f"{at}[new]", None, {"name": "new"}),
    ]


def test_lists_without_names_are_compared_by_place_or_as_a_whole() -> None:
    before, after = an_object(spec={"a": [1, 2]}), an_object(spec={"a": [1, 3]})
    assert told(before, after) == [("spec.a[1]", 2, 3)]
    assert told(before, an_object(spec={"a": [1]})) == [("spec.a", [1, 2], [1])]


def test_labels_and_annotations_count_and_their_dots_are_no_path() -> None:
    after = an_object()
    after["metadata"] |= {"labels": {"a": "b"}, "annotations": {"x.io/y": "z"}}
    assert told(an_object(), after) == [
        ("metadata.annotations[x.io/y]", None, "z"),
        ("metadata.labels.a", None, "b"),
    ]


def test_a_secrets_values_are_never_told() -> None:
    before = an_object("Secret", data={"same": "c2FtZQ==", "key": "b25l"})
    after = an_object("Secret", data={"same": "c2FtZQ==", "key": "dHdv", "new": "bmV3"})
    found = differences(before, after)
    assert [each.path for each in found] == ["data.key", "data.new"]
    assert not {"b25l", "dHdv", "bmV3"} & set(json.dumps([str(each) for each in found]).split('"'))
    assert found[0].before != found[0].after


# -- by others ---------------------------------------------------------------------------------


def managed(live: dict[str, Any], **fields: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what people have set, where managers have the fields that are given by name."""
    entries = [
        {"manager": name.replace("_", "-"), "fieldsV1": value} for name, value in fields.items()
    ]
    live["metadata"]["managedFields"] = entries
    return [(each.path, each.after) for each in set_by_people(live, "helm")]


def test_a_field_that_kubectl_has_added_is_told() -> None:
    live = containers({"name": "fpm", "env": [{"name": "BY_HAND", "value": "1"}]})
    env = {'k:{"name":"BY_HAND"}': {".": {}, "f:name": {}, "f:value": {}}}
    deep = {"f:containers": {'k:{"name":"fpm"}': {"f:env": env}}}
    fields = {"f:spec": {"f:template": {"f:spec": deep}}}
    path = "spec.template.spec.containers[fpm].env[BY_HAND]"
    assert managed(live, kubectl_set=fields) == [(path, {"name": "BY_HAND", "value": "1"})]


def test_a_field_is_told_in_an_item_that_both_have_set() -> None:
    """With a server-side apply of its own whoever names a container owns it, too."""
    live = containers({"name": "fpm", "env": [{"name": "BY_HAND", "value": "1"}], "tty": True})
    env = {'k:{"name":"BY_HAND"}': {".": {}, "f:name": {}, "f:value": {}}}

    def of(more: dict[str, Any]) -> dict[str, Any]:
        item = {'k:{"name":"fpm"}': {".": {}, "f:name": {}, **more}}
        return {"f:spec": {"f:template": {"f:spec": {"f:containers": item}}}}

    found = managed(live, helm=of({}), kubectl_edit=of({"f:env": env, "f:tty": {}}))
    at = "spec.template.spec.containers[fpm]"
    added = {"name": "BY_HAND", "value": "1"}
    assert found == [(f"{at}.env[BY_HAND]", added), (f"{at}.tty", True)]


def test_what_the_deployer_sets_as_well_is_not_told() -> None:
    live, fields = an_object(spec={"replicas": 1}), {"f:spec": {"f:replicas": {}}}
    assert managed(live, helm=fields, kubectl_scale=fields) == []


@pytest.mark.parametrize("manager", ["kube_controller_manager", "aws_load_balancer", "mautic"])
def test_controllers_are_no_people(manager: str) -> None:
    live = an_object(spec={"replicas": 1})
    assert managed(live, **{manager: {"f:spec": {"f:replicas": {}}}}) == []


def test_finalizers_and_a_tools_own_note_are_not_told() -> None:
    live = an_object()
    note = "kubectl.kubernetes.io/last-applied-configuration"
    live["metadata"] |= {"finalizers": ["a/b"], "annotations": {note: "{}", "mine.io/x": "y"}}
    fields = {
        "f:metadata": {
            "f:finalizers": {".": {}, 'v:"a/b"': {}},
            "f:annotations": {".": {}, f"f:{note}": {}, "f:mine.io/x": {}},
        }
    }
    assert managed(live, kubectl_edit=fields) == [("metadata.annotations[mine.io/x]", "y")]


def test_an_added_key_of_a_secret_is_told_without_its_value() -> None:
    live = an_object("Secret", data={"key": "aHVzaA=="})
    ((path, value),) = managed(live, kubectl_edit={"f:data": {"f:key": {}}})
    assert path == "data.key"
    assert "aHVzaA" not in str(value)
