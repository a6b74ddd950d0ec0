"""What operators and the front end are shown, as a story for `record.py`: one project, from empty to drawn."""

from __future__ import annotations

from .record import AS_CONSUMER, CONSUMER, INSTANCE, PROVIDER, Request

GOVERN = "/v4/{project}/govern"
ONE = "microservices/{s1}"
SECOND = PROVIDER | {"version": "2.0.0"}

STORY = [
    Request("no services", "GET", f"{GOVERN}/microservices?options=all"),
    Request("no service of that id", "GET", f"{GOVERN}/microservices/nope"),
    Request("an empty picture", "GET", f"{GOVERN}/relations"),
    Request("no apps", "GET", f"{GOVERN}/apps?env=development"),
    Request("nothing to count", "GET", f"{GOVERN}/statistics"),
    Request("create a provider", "POST", "microservices", {"service": PROVIDER}, keeps=("s1", "serviceId")),
    Request("create another version", "POST", "microservices", {"service": SECOND}, keeps=("s2", "serviceId")),
    Request("create a consumer", "POST", "microservices", {"service": CONSUMER}, keeps=("c", "serviceId")),
    Request("register", "POST", f"{ONE}/instances", {"instance": INSTANCE}, keeps=("i1", "instanceId")),
    Request("tag", "POST", f"{ONE}/tags", {"tags": {"k1": "v1"}}),
    Request("store a schema", "PUT", f"{ONE}/schemas/x", {"schema": "swagger: 2", "summary": "ab12"}),
    Request("find as consumer", "GET", "instances?appId=shop&serviceName=prov", headers=AS_CONSUMER),
    Request("all details", "GET", f"{GOVERN}/microservices?options=all"),
    Request("no details", "GET", f"{GOVERN}/microservices"),
    Request("instances only", "GET", f"{GOVERN}/microservices?options=instances&serviceName=prov"),
    Request("dependencies only", "GET", f"{GOVERN}/microservices?options=dependencies&appId=shop"),
    Request("unknown details", "GET", f"{GOVERN}/microservices?options=nonsense&env=development"),
    Request("counted", "GET", f"{GOVERN}/microservices?options=instances&countOnly=1"),
    Request("counted badly", "GET", f"{GOVERN}/microservices?countOnly=2"),
    Request("statistics only", "GET", f"{GOVERN}/microservices?options=statistics"),
    Request("of no property", "GET", f"{GOVERN}/microservices?property=a:b"),
    Request("of no environment", "GET", f"{GOVERN}/microservices?env=nonsense"),
    Request("one service", "GET", f"{GOVERN}/microservices/{{s1}}"),
    Request("the consumer", "GET", f"{GOVERN}/microservices/{{c}}"),
    Request("a picture", "GET", f"{GOVERN}/relations"),
    Request("apps", "GET", f"{GOVERN}/apps?env=development"),
    Request("apps of the unnamed environment", "GET", f"{GOVERN}/apps"),
    Request("apps of no environment", "GET", f"{GOVERN}/apps?env=nonsense"),
    Request("statistics", "GET", f"{GOVERN}/statistics"),
    Request("views are read only", "POST", f"{GOVERN}/statistics"),
    Request("an unknown kind of policy", "POST", "/v1/{project}/gov/nonsense", {"name": "p", "spec": {}}),
]
