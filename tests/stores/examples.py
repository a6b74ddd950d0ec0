"""Records to keep: one of each kind, every field filled with something that is easily lost on the way."""

import hashlib

from facade.registry.model import (
    Account,
    AccountName,
    ConsumerId,
    DataCentre,
    Dependencies,
    FaceId,
    FaceInUse,
    GovernancePolicy,
    Instance,
    InstanceKey,
    LeaseTerms,
    Microservice,
    Origin,
    Permission,
    PolicyId,
    Record,
    Resource,
    Role,
    RoleName,
    Schema,
    SchemaId,
    ServiceId,
    ServiceKey,
    SigningKey,
    Space,
    Status,
    Tenant,
)

SHOP = ServiceKey("default", "default", "", "shop", "orders", "1.2.3")
ORDERS = ServiceId(Tenant(), "0123456789abcdef")

NATIVE = (
    b'{"ip_addr":"10.0.0.1","port":{"number":80,"is_enabled":true},"secure_port":{"number":443,"is_enabled":false},'
    b'"data_center_info":{"name":"MyOwn"},"lease_info":{},"vip_address":"\xc3\xa9"}'
)


def portable(name: str) -> str:
    """As Eureka's mapping makes it: a registry behind believes no other."""
    return hashlib.sha256(f"eureka\0ORDERS\0{name}".encode()).hexdigest()[:32]


ONE_OF_EACH: tuple[Record, ...] = (
    Instance(
        key=InstanceKey(Origin.EUREKA, Space(), "ORDERS", "orders:é:8080"),
        application="ORDERS",
        service=ServiceKey("default", "default", "", "eureka", "orders", "0.0.1"),
        portable_id=portable("orders:é:8080"),
        host="orders.example",
        endpoints=("rest://10.0.0.2:8080?sslEnabled=true", "rest://10.0.0.1:8080", "rest://10.0.0.1:8080"),
        metadata={"zone": "b", "a": "", "": "\0 ✓ 😀"},
        data_centre=DataCentre("dc", "region", "zone"),
        status=Status.OUT_OF_SERVICE,
        reported=Status.UP,
        override=Status.OUT_OF_SERVICE,
        lease=LeaseTerms(30_000, 90_000, 180_000),
        dirty_ms=2**63 - 1,
        registered_ms=1,
        updated_ms=2,
        source_address="::1",
        native=NATIVE,
    ),
    Microservice(
        key=ORDERS,
        name=SHOP,
        alias="orders-of-shop",
        properties={"p": "1"},
        tags={"t": "second"},
        schemas=("b", "a"),
        registered_ms=3,
        updated_ms=4,
        native=b'{"level":"BACK","status":"UP"}',
    ),
    Schema(key=SchemaId(ORDERS, "a"), text="swagger: '2.0'\n" * 1000, summary="abc"),
    Dependencies(key=ConsumerId(ORDERS), providers=(SHOP.unversioned, SHOP.unversioned)),
    FaceInUse(key=FaceId(SHOP.unversioned), application_space=Space(), application="ORDERS", version="0.0.1"),
    GovernancePolicy(
        key=PolicyId(Tenant(), "retry", "0123456789abcdef"),
        name="pay",
        selector={"environment": ""},
        spec=b'{"maxAttempts":3}',
        status="enabled",
        created_ms=5,
        updated_ms=6,
    ),
    # An account and a role of one name are two records.
    Account(
        key=AccountName("shop"),
        id="00ff",
        password_hash="$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA",
        roles=("shop",),
        is_active=False,
        created_s=7,
        updated_s=8,
    ),
    Role(
        key=RoleName("shop"),
        id="11ee",
        perms=(Permission(resources=(Resource(type="service", labels={"appId": "shop"}),), verbs=("get",)),),
        created_s=7,
        updated_s=8,
    ),
    SigningKey(pem="-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n", made_s=9),
)


def instance(name: str, **fields: object) -> Instance:
    """A small instance; `fields` as in the model."""
    given = {
        "key": InstanceKey(Origin.EUREKA, Space(), "ORDERS", name),
        "application": "ORDERS",
        "service": SHOP,
        "portable_id": portable(name),
        "host": "orders.example",
        "lease": LeaseTerms(30_000, 90_000, 180_000),
        "native": NATIVE,
    }
    return Instance(**{**given, **fields})  # type: ignore[arg-type]  # as the model has them
