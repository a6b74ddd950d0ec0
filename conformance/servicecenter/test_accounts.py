"""Cases 150-152 and section 4.1: who is let in, by which account, and how far."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from .asking import (
    ROUTER_TEXT_TYPE,
    Answer,
    ServiceCenter,
    assert_json,
    assert_ok,
    assert_refused,
    unique,
)

PASSWORD = "Ab1@xxxx"
EXPIRED = 1_000_000_000


@pytest.fixture(scope="session")
def nobody(servicecenter_with_accounts_url: str, servicecenter_kind: str) -> ServiceCenter:
    """The server with accounts, asked by somebody without one."""
    return ServiceCenter(servicecenter_with_accounts_url, servicecenter_kind)


def token_of(sc: ServiceCenter, name: str, password: str = PASSWORD) -> str:
    answer = sc.post("/v4/token", {"name": name, "password": password})
    assert answer.status == 200, answer.text
    return str(answer.json()["token"])


def bearing(sc: ServiceCenter, token: str) -> ServiceCenter:
    return replace(sc, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="session")
def root(nobody: ServiceCenter, root_password: str) -> ServiceCenter:
    return bearing(nobody, token_of(nobody, "root", root_password))


@pytest.fixture
def account(nobody: ServiceCenter, root: ServiceCenter) -> Callable[..., ServiceCenter]:
    """`account("developer")` asks as a new account with that role; `account(perms)` as one with a new role."""

    def made(role: str | list[dict[str, Any]], name: str = "") -> ServiceCenter:
        name = name or unique("user")
        if not isinstance(role, str):
            stated, role = role, unique("role")
            assert_ok(root.post("/v4/roles", {"name": role, "perms": stated}))
        assert_ok(root.post("/v4/accounts", {"name": name, "password": PASSWORD, "roles": [role]}))
        return bearing(nobody, token_of(nobody, name))

    return made


@pytest.fixture
def developer(account: Callable[..., ServiceCenter]) -> ServiceCenter:
    return account("developer")


@pytest.fixture
def tester(account: Callable[..., ServiceCenter]) -> ServiceCenter:
    """May do everything with services of the environment `testing`."""
    return account(perms("*", environment="testing"))


def perms(*verbs: str, type: str = "service", **labels: str) -> list[dict[str, Any]]:
    return [{"resources": [{"type": type, "labels": labels}], "verbs": list(verbs)}]


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def claims_of(token: str) -> list[Any]:
    return [json.loads(base64.urlsafe_b64decode(piece + "==")) for piece in token.split(".")[:2]]


# Tokens


def test_150_a_call_without_a_token_is_refused(nobody: ServiceCenter) -> None:
    for method, path in (
        ("GET", "microservices"),
        ("PUT", "microservices/x/instances/y/heartbeat"),
        ("POST", "/v4/roles"),
    ):
        assert_refused(nobody.ask(method, path), 401204)
    assert_refused(nobody.get("microservices", headers={"Authorization": ""}), 401204)


def test_150_the_token_comes_before_the_body(nobody: ServiceCenter) -> None:
    assert_refused(nobody.post("microservices", b"{"), 401204)


@pytest.mark.parametrize("said", ["x", "Bearer", "Bearer  x", "Bearer x y", "Bearer x", "Bearer a.b.c", "Bearer e.e.e"])
def test_150_what_is_no_token_is_refused(nobody: ServiceCenter, said: str) -> None:
    assert_refused(nobody.get("microservices", headers={"Authorization": said}), 401201)


def test_150_the_word_before_a_token_means_nothing(nobody: ServiceCenter, root: ServiceCenter) -> None:
    token = root.headers["Authorization"].split()[1]
    assert nobody.get("microservices", headers={"Authorization": f"Token {token}"}).status == 200


def test_150_a_token_that_was_changed_is_refused(nobody: ServiceCenter, root: ServiceCenter) -> None:
    head, claims, signature = root.headers["Authorization"].split()[1].split(".")
    other = part(claims_of(f"{head}.{claims}.")[1] | {"account": "otto"})
    for forged in (f"{head}.{other}.{signature}", f"{part({'alg': 'none', 'typ': 'JWT'})}.{claims}."):
        assert_refused(nobody.get("microservices", headers={"Authorization": f"Bearer {forged}"}), 401201)


@pytest.mark.parametrize("algorithm", ["RS512", "none"])
def test_150_of_an_old_token_its_age_is_told_whatever_its_signature(nobody: ServiceCenter, algorithm: str) -> None:
    old = part({"account": "root", "roles": ["admin"], "exp": EXPIRED})
    token = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{old}.AAAA"
    assert_refused(nobody.get("microservices", headers={"Authorization": f"Bearer {token}"}), 401205)


@pytest.mark.parametrize("path", ["health", "version", "/health", "/version"])
def test_150_some_paths_are_open_also_with_a_bad_token(nobody: ServiceCenter, path: str) -> None:
    assert nobody.get(path).status == 200
    assert nobody.get(path, headers={"Authorization": "Bearer x"}).status == 200


def test_150_what_is_not_there_is_not_there_without_a_token(nobody: ServiceCenter) -> None:
    assert (nobody.get("nosuch").status, nobody.get("nosuch").header("Content-Type")) == (404, ROUTER_TEXT_TYPE)
    assert nobody.ask("PATCH", "microservices").status == 405
    assert nobody.get("/v4/token").status == 405
    asked = {"Origin": "http://x.test", "Access-Control-Request-Method": "GET"}
    assert nobody.ask("OPTIONS", "microservices", headers=asked).status == 200


def test_150_a_handshake_without_a_token(nobody: ServiceCenter) -> None:
    url = nobody.url.replace("http", "ws") + nobody.path("microservices/x/watcher")
    with pytest.raises(InvalidHandshake) as refused:
        connect(url, proxy=None)
    response: Any = getattr(refused.value, "response", None)
    assert response.status_code == nobody.expected(ours=401, real=200)


def test_a_token_says_who_which_roles_and_until_when(nobody: ServiceCenter, root_password: str) -> None:
    answer = nobody.post("/v4/token", {"name": "root", "password": root_password, "tokenExpirationTime": "30m"})

    header, claims = claims_of(answer.json()["token"])
    assert header == {"alg": "RS512", "typ": "JWT"}
    assert claims.keys() == {"account", "roles", "exp"}
    assert (claims["account"], claims["roles"]) == ("root", ["admin"])
    assert abs(claims["exp"] - time.time() - 1800) < 10


def test_a_token_lasts_twelve_hours_unless_said_otherwise(root: ServiceCenter) -> None:
    claims = claims_of(root.headers["Authorization"].split()[1])[1]
    assert abs(claims["exp"] - time.time() - 12 * 3600) < 300


@pytest.mark.parametrize("stated", ["14m59s", "24h1s", "-1h", "zz", "30", "1h30", "0"])
def test_a_token_lasts_no_longer_and_no_shorter(nobody: ServiceCenter, root_password: str, stated: str) -> None:
    body = {"name": "root", "password": root_password, "tokenExpirationTime": stated}
    assert_refused(nobody.post("/v4/token", body), 400001, "Account.TokenExpirationTime")


@pytest.mark.parametrize("stated", ["15m", "24h", "1h30m", "900s", "0.5h", "1440m"])
def test_a_token_lasts_as_long_as_asked(nobody: ServiceCenter, root_password: str, stated: str) -> None:
    body = {"name": "root", "password": root_password, "tokenExpirationTime": stated}
    assert nobody.post("/v4/token", body).status == 200


def test_a_login_says_not_which_of_both_is_wrong(nobody: ServiceCenter) -> None:
    name = unique("nobody")
    first = nobody.post("/v4/token", {"name": name, "password": "x"})
    assert_refused(first, 401202)
    assert_json(replace(first, status=200), {"errorCode": "401202", "errorMessage": "User name or password is wrong"})


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b"[]", "json: cannot unmarshal array into Go value of type rbac.Account"),
        (b'{"name":1}', "json: cannot unmarshal number into Go struct field Account.name of type string"),
    ],
)
def test_a_login_that_cannot_be_read(nobody: ServiceCenter, body: bytes, detail: str) -> None:
    assert_refused(nobody.post("/v4/token", body), 400001, detail)


def test_151_the_third_failure_locks_out(nobody: ServiceCenter, root: ServiceCenter) -> None:
    name = unique("locked")
    assert_ok(root.post("/v4/accounts", {"name": name, "password": PASSWORD, "roles": ["developer"]}))
    for _ in range(3):
        assert_refused(nobody.post("/v4/token", {"name": name, "password": "wrong"}), 401202)

    assert_refused(nobody.post("/v4/token", {"name": name, "password": PASSWORD}), 403201)
    locks = root.get("/v4/account-locks").json()
    assert locks["total"] == len(locks["data"])
    (lock,) = [one for one in locks["data"] if one["key"] == f"{name}::127.0.0.1"]
    assert lock["status"] == "banned"
    assert abs(lock["releaseAt"] - time.time() - 900) < 30


def test_151_a_failure_is_listed_also_of_a_name_that_nobody_has(nobody: ServiceCenter, root: ServiceCenter) -> None:
    name = unique("nobody")
    nobody.post("/v4/token", {"name": name, "password": "wrong"})

    (lock,) = [one for one in root.get("/v4/account-locks").json()["data"] if one["key"].startswith(name)]
    assert lock["status"] == "attempted"


def test_151_a_lock_ends_no_tokens(nobody: ServiceCenter, root: ServiceCenter, account: Callable[..., Any]) -> None:
    name = unique("locked")
    client = account("developer", name)
    for _ in range(3):
        nobody.post("/v4/token", {"name": name, "password": "wrong"})

    assert client.get("microservices").status == 200


# What an account may do


def service(environment: str, app: str, name: str = "svc") -> dict[str, Any]:
    return {"service": {"appId": app, "serviceName": name, "version": "1.0.0", "environment": environment}}


def test_152_a_role_holds_within_its_labels(tester: ServiceCenter, root: ServiceCenter, app: str) -> None:
    refused = tester.post("microservices", service("development", app))
    assert_refused(
        refused,
        403205,
        "role has no permissions[service:create] for labels "
        f"[map[appId:{app} environment:development serviceName:svc]]",
    )
    mine = tester.post("microservices", service("testing", app)).json()["serviceId"]
    theirs = root.post("microservices", service("production", app, "other")).json()["serviceId"]

    def only_testing() -> None:
        environments = {one["environment"] for one in tester.get("microservices").json()["services"]}
        assert environments == {"testing"}

    tester.soon(only_testing)
    assert tester.get(f"microservices/{mine}").status == 200
    for method, path in (
        ("GET", f"microservices/{theirs}"),
        ("GET", f"microservices/{theirs}/instances"),
        ("DELETE", f"microservices/{theirs}"),
        ("PUT", f"microservices/{theirs}/instances/i/heartbeat"),
        ("GET", f"existence?type=microservice&appId={app}&serviceName=other&version=1.0.0&env=production"),
        ("GET", f"instances?env=production&appId={app}&serviceName=other&version=0%2B"),
    ):
        assert_refused(tester.ask(method, path), 403205, "for labels")
    assert_refused(tester.put("instances/status", {"status": "UP"}), 403205)
    assert_refused(tester.put(f"microservices/{mine}/instances/i/heartbeat"), 400017)


def test_152_an_unknown_service(tester: ServiceCenter, developer: ServiceCenter, root: ServiceCenter) -> None:
    path = f"microservices/{unique('nosuch')}"

    assert_refused(root.delete(path), 400012)
    assert_refused(developer.delete(path), developer.expected(ours=400012, real=401201))
    assert_refused(tester.delete(path), tester.expected(ours=403205, real=401201))


def test_152_a_body_that_cannot_be_read(developer: ServiceCenter, root: ServiceCenter) -> None:
    assert_refused(root.post("microservices", b"{"), 400001)
    assert_refused(developer.post("microservices", b"{"), developer.expected(ours=400001, real=401201))


def test_152_of_a_set_each_is_judged(tester: ServiceCenter, root: ServiceCenter, app: str) -> None:
    mine = root.post("microservices", service("testing", app)).json()["serviceId"]
    theirs = root.post("microservices", service("production", app, "other")).json()["serviceId"]

    def heartbeats(*services: str) -> Answer:
        return tester.put("heartbeats", {"instances": [{"serviceId": one, "instanceId": "i"} for one in services]})

    assert_refused(heartbeats(theirs), 403205)
    told = {one["serviceId"]: one["errMessage"] for one in heartbeats(mine, theirs).json()["instances"]}
    assert told[mine].startswith("Instance does not exist")
    assert told[theirs].startswith(tester.expected(ours="No permission(s)", real="Instance does not exist"))


def test_152_a_pattern_in_a_label(account: Callable[..., ServiceCenter], root: ServiceCenter, app: str) -> None:
    client = account(perms("get", serviceName="sv*"))
    service_id = root.post("microservices", service("", app)).json()["serviceId"]
    root.post("microservices", service("", app, "other"))

    def listed() -> None:
        assert {one["serviceName"] for one in client.get("microservices").json()["services"]} == {"svc"}

    client.soon(listed)
    assert client.get(f"microservices/{service_id}").status == client.expected(ours=200, real=403)


def test_a_developer_may_do_everything_but_accounts_and_roles(developer: ServiceCenter, app: str) -> None:
    assert developer.post("microservices", service("", app)).status == 200
    for path in ("/v4/accounts", "/v4/accounts/root", "/v4/account-locks"):
        assert_refused(developer.get(path), 403205, "role has no permissions[account:get]")
    assert_refused(developer.get("/v4/roles"), 403205, "role has no permissions[role:get]")
    assert_refused(developer.post("/v4/accounts", {}), 403205, "role has no permissions[account:create]")


def test_the_old_paths_and_dependencies_are_as_the_new_ones(developer: ServiceCenter) -> None:
    status = developer.expected(ours=200, real=403)
    assert developer.get("/registry/v3/microservices").status == status
    answer = developer.put("dependencies", {"dependencies": []})
    assert_refused(answer, developer.expected(ours=400001, real=403205))


def test_schemas_are_a_resource_of_their_own(tester: ServiceCenter, root: ServiceCenter, app: str) -> None:
    service_id = root.post("microservices", service("testing", app)).json()["serviceId"]
    assert_refused(
        tester.get(f"microservices/{service_id}/schemas"), 403205, "role has no permissions[service/schema:get]"
    )


def test_a_role_without_permissions_permits_nothing(account: Callable[..., ServiceCenter]) -> None:
    assert_refused(account([]).get("microservices"), 403205, "role has no any permissions")


def test_what_a_role_permits_is_live(account: Callable[..., ServiceCenter], root: ServiceCenter) -> None:
    role = unique("role")
    assert_ok(root.post("/v4/roles", {"name": role, "perms": perms("get")}))
    client = account(role)
    assert client.get("microservices").status == 200

    assert_ok(root.put(f"/v4/roles/{role}", {"perms": perms("create")}))

    client.soon(lambda: assert_refused(client.get("microservices"), 403205, "service:get"))


def test_which_roles_an_account_has_is_live(account: Callable[..., ServiceCenter], root: ServiceCenter) -> None:
    """B30: in the original it is frozen in the token."""
    name = unique("user")
    client = account("admin", name)
    assert_ok(root.put(f"/v4/accounts/{name}", {"roles": ["developer"]}))

    assert client.get("/v4/accounts").status == client.expected(ours=403, real=200)


# Accounts


def test_an_account_is_made_read_changed_and_ended(nobody: ServiceCenter, root: ServiceCenter) -> None:
    name = unique("user")
    stated = {"name": name, "password": PASSWORD, "roles": ["developer"]}
    assert_ok(root.post("/v4/accounts", stated))
    assert_refused(root.post("/v4/accounts", stated), 409200, "account is duplicated")

    read = root.get(f"/v4/accounts/{name}").json()
    assert read.keys() == {"id", "name", "roles", "status", "createTime", "updateTime"}
    assert (read["name"], read["roles"], read["status"]) == (name, ["developer"], "active")
    assert len(read["id"]) == 32
    listed = root.get("/v4/accounts").json()
    assert listed["total"] == len(listed["data"])
    assert read in listed["data"]

    client = bearing(nobody, token_of(nobody, name))
    assert_ok(root.put(f"/v4/accounts/{name}", {"roles": ["admin"], "status": "active"}))
    assert root.get(f"/v4/accounts/{name}").json()["roles"] == ["admin"]
    assert_ok(root.delete(f"/v4/accounts/{name}"))
    assert_refused(root.get(f"/v4/accounts/{name}"), 400200, f"account [{name}] not exist")
    assert_refused(client.get("microservices"), 401206, f"account [{name}] is deleted")


NAME_RULE = r"{Min: 1, Max: 64, Regexp: ^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$}"
ROLES_RULE = NAME_RULE.replace("64", "5")


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"name": ""}, 400001, f"field 'Account.Name' invalid value '' does not match rule: {NAME_RULE}"),
        ({"name": "a_"}, 400001, f"field 'Account.Name' invalid value 'a_' does not match rule: {NAME_RULE}"),
        ({"name": "x" * 65}, 400001, "field 'Account.Name'"),
        ({"password": "weak"}, 400001, "field 'Account.Password' invalid value"),
        ({"password": "x" * 33 + "A1@"}, 400001, "does not match rule: {Regexp: password}"),
        ({"roles": []}, 400001, f"field 'Account.Roles' invalid value '[]' does not match rule: {ROLES_RULE}"),
        ({"roles": ["developer"] * 6}, 400001, "field 'Account.Roles' invalid value '[developer developer "),
        ({"roles": ["a_"]}, 400001, f"field 'Account.Roles' invalid value 'a_' does not match rule: {ROLES_RULE}"),
        ({"roles": ["nosuch"]}, 400202, "role not exist"),
        ({"status": "odd"}, 400001, "field 'Account.Status' invalid value 'odd'"),
        ({"name": "Ab1-xxxx", "password": "Ab1-xxxx"}, 400001, "account name and password MUST NOT be same"),
        ({"name": "xxxx-1bA", "password": "Ab1-xxxx"}, 400001, "password MUST NOT be the revered account name"),
    ],
)
def test_an_account_that_does_not_fit(root: ServiceCenter, changes: dict[str, Any], code: int, detail: str) -> None:
    stated = {"name": unique("user"), "password": PASSWORD, "roles": ["developer"]} | changes
    assert_refused(root.post("/v4/accounts", stated), code, detail)


def test_a_refused_password_in_the_text(root: ServiceCenter) -> None:
    """B41."""
    answer = root.post("/v4/accounts", {"name": unique("user"), "password": "weak-one", "roles": ["developer"]})
    assert ("weak-one" in answer.text) == root.expected(ours=False, real=True)


def test_root_and_the_own_account_stay(root: ServiceCenter, account: Callable[..., ServiceCenter]) -> None:
    name = unique("boss")
    boss = account("admin", name)

    assert_refused(root.delete("/v4/accounts/root"), 403202, "root can not be operated")
    assert_refused(root.put("/v4/accounts/root", {"roles": ["developer"]}), 403202)
    assert_refused(boss.delete(f"/v4/accounts/{name}"), 403204, "your account can not be operated")
    assert_refused(boss.put(f"/v4/accounts/{name}", {"roles": ["developer"]}), 403204)
    assert_refused(root.delete(f"/v4/accounts/{unique('nosuch')}"), 400200)
    assert_refused(root.put(f"/v4/accounts/{unique('nosuch')}", {"roles": ["developer"]}), 400200)
    assert_refused(root.put(f"/v4/accounts/{name}", {"status": "inactive"}), 400001, "Account.Roles")


def test_an_inactive_account(nobody: ServiceCenter, root: ServiceCenter, account: Callable[..., ServiceCenter]) -> None:
    """B41: in the original it makes no difference."""
    name = unique("user")
    client = account("developer", name)
    assert_ok(root.put(f"/v4/accounts/{name}", {"roles": ["developer"], "status": "inactive"}))

    assert root.get(f"/v4/accounts/{name}").json()["status"] == "inactive"
    status = nobody.expected(ours=401, real=200)
    assert nobody.post("/v4/token", {"name": name, "password": PASSWORD}).status == status
    assert client.get("microservices").status == status


def test_many_accounts_at_once(root: ServiceCenter) -> None:
    good, bad = unique("user"), unique("user")
    stated = [
        {"name": good, "password": PASSWORD, "roles": ["developer"]},
        {"name": bad, "password": PASSWORD, "roles": ["nosuch"]},
        {"name": unique("user"), "roles": ["developer"]},
        {"name": good, "password": PASSWORD, "roles": ["developer"]},
    ]
    answer = root.post("/v4/accounts/batch-create", {"accounts": stated})

    told = answer.json()["accounts"]
    assert [one["name"] for one in told] == [one["name"] for one in stated]
    assert [one.get("errorCode", "") for one in told] == ["", "400202", "", "409200"]
    rule = "field 'BatchCreateAccountsRequest.Accounts' invalid value"
    assert_refused(root.post("/v4/accounts/batch-create", {"accounts": []}), 400001, rule)
    assert_refused(root.post("/v4/accounts/batch-create", {"accounts": [stated[0]] * 21}), 400001, rule)


def test_a_password_is_changed(
    nobody: ServiceCenter, root: ServiceCenter, account: Callable[..., ServiceCenter]
) -> None:
    name, other = unique("user"), unique("user")
    client, _ = account("developer", name), account("developer", other)
    path = f"/v4/accounts/{name}/password"

    assert_refused(client.post(path, {"password": "Ab2@yyyy"}), 400001, "current password should not be empty")
    assert_refused(client.post(path, {"currentPassword": "bad", "password": "Ab2@yyyy"}), 401207)
    assert_refused(client.post(path, {"currentPassword": PASSWORD, "password": PASSWORD}), 400206)
    assert_refused(client.post(path, {"currentPassword": PASSWORD, "password": "weak"}), 400001)
    assert_refused(client.post(path, b"{"), 400001, "json is invalid")
    others = client.post(f"/v4/accounts/{other}/password", {"password": "Ab2@yyyy"})
    assert_refused(others, 403001, "can not change other account password")
    nosuch = root.post(f"/v4/accounts/{unique('nosuch')}/password", {"password": "Ab2@yyyy"})
    assert_refused(nosuch, 400200)

    assert_ok(client.post(path, {"currentPassword": PASSWORD, "password": "Ab2@yyyy"}))
    assert client.get("microservices").status == 200  # its token goes on
    assert_refused(nobody.post("/v4/token", {"name": name, "password": PASSWORD}), 401202)
    assert nobody.post("/v4/token", {"name": name, "password": "Ab2@yyyy"}).status == 200
    assert_ok(root.post(path, {"password": "Ab3@zzzz"}))
    assert nobody.post("/v4/token", {"name": name, "password": "Ab3@zzzz"}).status == 200


def test_the_own_permissions(nobody: ServiceCenter, tester: ServiceCenter) -> None:
    assert_json(tester.get("/v4/self-perms"), {"perms": perms("*", environment="testing")})
    assert_refused(nobody.get("/v4/self-perms"), 401204)


# Roles


def test_a_role_is_made_read_changed_and_ended(root: ServiceCenter) -> None:
    name = unique("role")
    path = f"/v4/roles/{name}"
    stated = {"name": name, "perms": perms("get", "create", environment="testing")}
    assert_ok(root.post("/v4/roles", stated))
    assert_refused(root.post("/v4/roles", stated), 409201, "role is duplicated")
    read = root.get(path).json()
    assert read.keys() == {"id", "name", "perms", "createTime", "updateTime"}
    assert read["perms"] == stated["perms"]
    listed = root.get("/v4/roles").json()
    assert listed["total"] == len(listed["data"]) >= 3
    assert read in listed["data"]

    assert_ok(root.put(path, {"name": "ignored"}))
    assert root.get(path).json().keys() == {"id", "name", "createTime", "updateTime"}
    assert_refused(root.put(path, b"{"), 400001, "json is invalid")
    assert_ok(root.delete(path))
    for answer in (root.get(path), root.put(path, {}), root.delete(path)):
        assert_refused(answer, 400201)


def test_a_role_that_does_not_fit(root: ServiceCenter) -> None:
    for name in ("", "_x", "x" * 65):
        detail = f"field 'Role.Name' invalid value '{name}' does not match rule: {NAME_RULE}"
        assert_refused(root.post("/v4/roles", {"name": name}), 400001, detail)
    assert_refused(root.post("/v4/roles", b"{"), 400001, "json is invalid")


def test_the_built_in_roles_stay(root: ServiceCenter) -> None:
    for name in ("admin", "developer"):
        assert_refused(root.delete(f"/v4/roles/{name}"), 403203, "build-in role can not be operated")
        assert_refused(root.put(f"/v4/roles/{name}", {"perms": []}), 403203)
    types = [one["type"] for one in root.get("/v4/roles/developer").json()["perms"][0]["resources"]]
    assert types == ["config", "service", "governance", "ops", "service/schema"]


def test_a_role_that_somebody_has_stays(account: Callable[..., ServiceCenter], root: ServiceCenter) -> None:
    role = unique("role")
    assert_ok(root.post("/v4/roles", {"name": role, "perms": perms("get")}))
    account(role)

    assert_refused(root.delete(f"/v4/roles/{role}"), 400205)


def test_what_a_role_says_is_looked_at(root: ServiceCenter) -> None:
    """B41: the original takes any text, and the role permits nothing."""
    answer = root.post("/v4/roles", {"name": unique("role"), "perms": perms("read", type="services")})
    assert answer.status == root.expected(ours=400, real=200)
