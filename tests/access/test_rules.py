"""What roles permit."""

from __future__ import annotations

import pytest

from facade.access.rules import (
    EVERYTHING,
    RESOURCES,
    SERVICE,
    Labels,
    Needs,
    built_in_roles,
    fault_of,
    granted,
)
from facade.registry.model import Permission, Resource, Role, RoleName


def role(*verbs: str, type: str = "service", **labels: str) -> Role:
    perms = (Permission(resources=(Resource(type=type, labels=labels),), verbs=verbs),)
    return Role(key=RoleName("r"), id="1", perms=perms)


ORDERS = Labels("testing", "shop", "orders")


def test_what_no_permission_names_is_denied() -> None:
    assert granted([role("get")], "service", "create") is None
    assert granted([role("get")], "account", "get") is None
    assert granted([], "service", "get") is None


def test_any_verb_is_every_verb() -> None:
    assert granted([role("*")], "service", "delete") is not None


def test_a_schema_is_not_a_service() -> None:
    """Source: measured with v2.2.0: a role for `service` is refused schemas."""
    assert granted([role("*")], "service/schema", "get") is None


def test_all_labels_of_one_set_must_fit() -> None:
    grant = granted([role("get", environment="testing", appId="shop")], "service", "get")

    assert grant is not None
    assert grant.fits(ORDERS)
    assert not grant.fits(ORDERS._replace(app="bank"))
    assert not grant.fits(ORDERS._replace(environment=""))


def test_of_two_sets_one_is_enough() -> None:
    grant = granted([role("get", serviceName="a"), role("get", serviceName="orders")], "service", "get")

    assert grant is not None and grant.fits(ORDERS)


def test_a_permission_without_labels_lifts_the_limits_of_others() -> None:
    grant = granted([role("get", serviceName="a"), role("get")], "service", "get")

    assert grant is not None and not grant.is_limited


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        *(("ord*", True), ("*ers", True), ("*", True), ("o*x", False), ("ord", False), ("o.d*", False)),
        *(("*r*e*s", True), ("o*rd*rs", True), ("orders*orders", False), ("ord*ders", False), ("**", True)),
    ],
)
def test_a_star_in_a_label_is_any_text(pattern: str, fits: bool) -> None:
    grant = granted([role("get", serviceName=pattern)], "service", "get")

    assert grant is not None and grant.fits(ORDERS) is fits


@pytest.mark.parametrize("pattern", ["*" * 200 + "x", "*a" * 20 + "*x", "a*" * 20 + "x"])
def test_many_stars_are_matched_in_no_time(pattern: str) -> None:
    grant = granted([role("get", serviceName=pattern)], "service", "get")

    assert grant is not None and not grant.fits(ORDERS._replace(name="a" * 5_000))


def test_an_unknown_label_fits_nothing() -> None:
    grant = granted([role("get", version="1")], "service", "get")

    assert grant is not None and not grant.fits(ORDERS)


def test_a_developer_may_do_everything_but_change_accounts_and_roles() -> None:
    admin, developer = built_in_roles()

    for resource in RESOURCES:
        assert granted([admin], resource, "delete") is not None
        assert (granted([developer], resource, "delete") is None) == (resource in ("account", "role"))


def test_the_verb_is_that_of_the_method() -> None:
    assert [SERVICE.verb_of(method) for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")] == [
        *("get", "get", "create", "update", "delete", "")
    ]
    assert Needs("service", "get").verb_of("POST") == "get"


def test_a_method_without_a_verb_is_permitted_to_nobody_but_by_a_star() -> None:
    assert granted([role("get", "create", "update", "delete")], "service", "") is None


@pytest.mark.parametrize(
    ("perms", "fault"),
    [
        ((Permission(verbs=("read",)),), "verb 'read'"),
        ((Permission(resources=(Resource(type="services"),), verbs=("get",)),), "resource type 'services'"),
        ((Permission(resources=(Resource(type="service", labels={"app": "x"}),)),), "label 'app'"),
        ((), ""),
        ((Permission(resources=(Resource(type="service", labels={"appId": "x"}),), verbs=("*",)),), ""),
    ],
)
def test_a_role_that_would_permit_nothing_is_refused(perms: tuple[Permission, ...], fault: str) -> None:
    assert fault in fault_of(perms)
    assert bool(fault) == bool(fault_of(perms))


def test_without_access_control_nobody_is_limited() -> None:
    assert EVERYTHING.fits(ORDERS) and not EVERYTHING.is_limited
