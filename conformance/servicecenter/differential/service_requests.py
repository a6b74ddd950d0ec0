"""What the generator asks about services, their schemas, tags and dependencies."""

from __future__ import annotations

from random import Random

from conformance.servicecenter.differential import documents, naming
from conformance.servicecenter.differential.documents import VERSIONS, text_of
from conformance.servicecenter.differential.naming import Made


def create(random: Random) -> Made:
    """Without `rules`, which the original may never answer (case 163)."""
    service = documents.odd_service(random) if random.random() < 0.3 else documents.service(random)
    document: documents.Document = {"service": service}
    if random.random() < 0.08:
        document |= documents.tags(random)
    if random.random() < 0.06:
        document["instances"] = [documents.instance(random) | {"instanceId": f"nested.{random.randrange(10**9):x}"}]
    if random.random() < 0.03:
        document = random.choice(({}, {"service": None}, {"service": []}, {"SERVICE": document["service"]}))
    return "POST", "microservices", text_of(random, document)


def exists(random: Random) -> Made:
    query = {"type": "microservice"} | naming.name(random) | {"version": random.choice((*VERSIONS, "9.9.9"))}
    if random.random() < 0.25:
        naming.bend(
            random,
            query,
            {"type": ("", "service", "schema"), "version": ("latest", "1.0.0+", "0+", "1.x", ""), "x": ("y",)},
        )
    return "GET", f"existence{naming.query(query)}", None


def schema_exists(random: Random) -> Made:
    query = {"type": "schema", "serviceId": naming.service(random), "schemaId": naming.schema_id(random)}
    if random.random() < 0.2:
        naming.bend(random, query, {})
    return "GET", f"existence{naming.query(query)}", None


def show_service(random: Random) -> Made:
    return "GET", f"microservices/{naming.service(random)}", None


def list_services(random: Random) -> Made:
    return "GET", "microservices" + random.choice(("", "", "?withShared=1", "?withShared=true", "?x=y")), None


def set_service_properties(random: Random) -> Made:
    return "PUT", f"microservices/{naming.service(random)}/properties", text_of(random, documents.properties(random))


def delete_service(random: Random) -> Made:
    force = random.choice(("", "", "?force=true", "?force=1", "?force=false", "?force=0", "?force=yes", "?force="))
    return "DELETE", f"microservices/{naming.service(random)}{force}", None


def delete_services(random: Random) -> Made:
    ids = [naming.service(random, escaped=False) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    document: documents.Document = {"serviceIds": ids}
    if random.random() < 0.5:
        document["force"] = random.choice((True, True, False, None, "true", 1))
    if random.random() < 0.1:
        document["serviceIds"] = random.choice((None, "x", [1], [None], [""], ["a b"], ["x" * 64], ["x" * 65], {}))
    return "DELETE", "microservices", text_of(random, document)


# Schemas and tags


def put_schema(random: Random) -> Made:
    return (
        "PUT",
        f"microservices/{naming.service(random)}/schemas/{naming.schema_id(random)}",
        text_of(random, documents.schema(random)),
    )


def set_schemas(random: Random) -> Made:
    return "POST", f"microservices/{naming.service(random)}/schemas", text_of(random, documents.schemas(random))


def read_schemas(random: Random) -> Made:
    one = f"/{naming.schema_id(random)}" if random.random() < 0.5 else ""
    query = random.choice(("", "", "?withSchema=1", "?withSchema=0", "?withSchema=true", "?withSchema="))
    return "GET", f"microservices/{naming.service(random)}/schemas{one}{query}", None


def delete_schema(random: Random) -> Made:
    return "DELETE", f"microservices/{naming.service(random)}/schemas/{naming.schema_id(random)}", None


def set_tags(random: Random) -> Made:
    return "POST", f"microservices/{naming.service(random)}/tags", text_of(random, documents.tags(random))


def set_tag(random: Random) -> Made:
    tag = random.choice((*("t1",) * 5, "t2", "none", "1a", "t%201"))
    values = (*("?value=w", "?value=v") * 4, "?value=", "", "?value=a%20b", "?value=" + "w" * 65, "?value=1")
    return "PUT", f"microservices/{naming.service(random)}/tags/{tag}{random.choice(values)}", None


def read_tags(random: Random) -> Made:
    return "GET", f"microservices/{naming.service(random)}/tags", None


def drop_tags(random: Random) -> Made:
    listed = random.choice((*("t1", "t2", "t1,t2") * 3, "t1,none", "none", "t1,", ",", "t1,t1", "1a", "a%2Cb"))
    return "DELETE", f"microservices/{naming.service(random)}/tags/{listed}", None


# Dependencies


def depend(random: Random) -> Made:
    """Of one consumer, where it is told anew (case 125)."""
    method = random.choice(("POST", "POST", "PUT"))
    stated = [documents.dependency(random) for _ in range(random.choice((0, *(1,) * 12, 2 if method == "POST" else 1)))]
    document: documents.Document = {"dependencies": stated}
    if random.random() < 0.08:
        document = random.choice(({}, {"dependencies": None}, {"dependencies": [None]}, {"dependencies": {}}))
    return method, "dependencies", text_of(random, document)


def read_related(random: Random) -> Made:
    query = random.choice(("", "", "", "?noSelf=1", "?sameDomain=1", "?noSelf=true", "?sameDomain=1&noSelf=1"))
    return "GET", f"microservices/{naming.service(random)}/{random.choice(('providers', 'consumers'))}{query}", None
