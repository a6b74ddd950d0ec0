"""Where we mean to answer otherwise than the original does: one line a case, asked by `expected(case, ours=…, real=…)`.

`docs/differences.md` shows the same lines to people; `python -m conformance.eureka.differences` prints them for it, and
`test_differences.py` holds the two together.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    case: int
    original: str
    ours: str
    why: str
    clients: str
    """Which clients meet it."""


DIFFERENCES = [
    Difference(
        6, "`Accept: application/*+json` alone: 406", "JSON", "whoever asks so can read JSON", "none asks so alone"
    ),
    Difference(
        7,
        "a write whose `Accept` nobody can serve (`text/html`) is refused with 406 and not done",
        "done, and answered 204 or 200",
        "the answer has no body, so there is nothing to negotiate",
        "Netflix 2.x sends `text/html, …, */*; q=0.2` with DELETE, which both accept",
    ),
    Difference(
        9,
        "`Accept: application/xml, application/json`: JSON labelled `application/xml`",
        "one of the two under its own name",
        "a label that lies helps nobody",
        "none depends on the lie",
    ),
    Difference(
        10,
        "`Accept: application/JSON`: XML labelled `application/JSON`",
        "JSON labelled `application/json`",
        "media types have no case",
        "none asks so",
    ),
    Difference(
        12,
        "only the full list and the delta are sent compressed",
        "every list",
        "an application of 1,000 is 400 KB plain",
        "all that ask for gzip",
    ),
    Difference(
        13,
        "`Accept-Encoding: gzip;q=0` gets gzip",
        "plain",
        "a weight of 0 means: not that",
        "none asks so",
    ),
    Difference(
        18,
        "Spring: `/eureka/v1/…` and `/eureka/V2/…` are 404 (Netflix's own server: 200)",
        "200, the same data",
        "clients of either server find theirs",
        "fargo asks `/eureka/v2`, the others `/eureka`",
    ),
    Difference(
        19,
        "`/eureka//apps` is 404",
        "200",
        "service URLs with one slash too many are a common slip",
        "any, configured so",
    ),
    Difference(
        25,
        "Spring: 403, 404, 405, 406, 415 and 500 carry a body of JSON or XML; Netflix's own server sends none",
        "never a body, `Content-Length: 0`",
        "given a body with the heartbeat's 404, Netflix's Jersey clients throw and never register again",
        "Netflix 1.10.18 and 2.0.6, Spring over Jersey: they were seen to fail with the original's body",
    ),
    Difference(
        29,
        "400 and 500 close the connection",
        "the connection stays open",
        "a client's mistake is no reason to make it connect again",
        "all that keep connections",
    ),
    Difference(
        36,
        "an instance registered without id is listed without one; an empty one is echoed",
        "the id that counts (the host name, for Amazon the instance's) is written out",
        "Steeltoe drops instances without id, and its hash never matches again",
        "eureka-js-client and fargo register so, Steeltoe reads so",
    ),
    Difference(
        37,
        "the reason of a refused registration is labelled JSON or XML",
        "`text/plain`",
        "it is plain text",
        "people",
    ),
    Difference(
        43,
        "`dataCenterInfo` without `@class`: 400",
        "taken, by its `name`",
        "the name says it all",
        "eureka-js-client's users forget it",
    ),
    Difference(
        47,
        "`metadata` in a data centre that is not Amazon's: 400 in JSON",
        "ignored, 204",
        "the original takes it in XML",
        "fargo",
    ),
    Difference(
        51,
        "Amazon's `metadata` before `name`: 400; without `metadata` the next field is lost, or 400",
        "any order, nothing lost, `instance-id` filled in",
        "an accident of the original's reader",
        "whoever writes it by hand",
    ),
    Difference(
        52,
        "`name: Amazon` under the class of other data centres: 204, and from then on every full list is an empty 200 "
        "for everybody",
        "stored as Amazon's, other instances stay readable",
        "one registration must not take the registry away",
        "eureka-js-client, Steeltoe configured so",
    ),
    Difference(
        54,
        "a parse error is JSON, but an `<error>` document when the request's type had a charset",
        "always JSON for JSON",
        "the charset says nothing about the format wanted",
        "Steeltoe sends a charset",
    ),
    Difference(55, "body `null`: 500", "400", "the client's mistake", "none sends it"),
    Difference(
        56,
        "an empty array for `instance`, or for `leaseInfo` or `metadata` as last field: never answered, one core is "
        "busy for ever",
        "400",
        "one request must not take a core away",
        "none sends it",
    ),
    Difference(
        58,
        "Spring: a gzipped request is 400 (Netflix's own server takes it)",
        "taken",
        "clients of either server are served",
        "Netflix 1.x with compression switched on",
    ),
    Difference(
        60,
        "unknown fields that hold objects or arrays: 400, or the fields after them are lost",
        "ignored, nothing lost",
        "an accident of the original's reader",
        "none sends any",
    ),
    Difference(
        65,
        "a body that cannot be read: `cannot parse request body`; but in a batch a bare port at the end of an "
        "instance, with an item to follow, spoils its own item alone",
        "the same, and what is wrong with it; the batch is refused as for any other item",
        "whoever reads it wants to know; the exception is an accident of the original's reader",
        "people",
    ),
    Difference(
        72,
        "metadata with an empty key, a colon in the key or control characters makes the XML unparsable",
        "escaped or left out in XML; exact in JSON",
        "one instance must not take the registry away from XML readers",
        "py_eureka_client and Prometheus read XML strictly",
    ),
    Difference(
        76,
        "`durationInSecs` above 2147483 overflows: the lease has lapsed at once",
        "a long lease",
        "who asks for a month does not mean never",
        "none by default",
    ),
    Difference(
        79,
        "XML whose root is `application` or `map`: 500",
        "400",
        "the client's mistake",
        "none sends it",
    ),
    Difference(
        82,
        "Spring: an id with a slash is listed, but asking for it is 400 from Tomcat",
        "found under `%2F`",
        "what can be registered should be removable",
        "none by default",
    ),
    Difference(
        86,
        "`apps/ALL_APPS` and `apps/ALL_APPS_DELTA` are the lists of the same name inside the cache, the delta even "
        "when it is switched off",
        "404, or the application of that name",
        "names of applications belong to applications",
        "none asks so",
    ),
    Difference(
        87,
        "a registration that changes nothing is told in the delta again, as ADDED",
        "not told",
        "nothing changed",
        "none depends on it",
    ),
    Difference(
        97,
        "an instance with several VIPs stays listed under each for up to 210 s after it is gone; so does one that "
        "registers anew under another VIP, or under none, where it was",
        "gone at once",
        "we keep no cache with a delay",
        "single-VIP clients of Netflix",
    ),
    Difference(
        99,
        "a single instance in XML shows OUT_OF_SERVICE and UNKNOWN as DOWN",
        "the true status",
        "left over from version 1; JSON and the lists tell the truth",
        "fargo, py_eureka_client",
    ),
    Difference(
        105,
        "Spring: `status` as JSON fails with 500 by default",
        "always complete, `healthy` a boolean",
        "monitoring reads it",
        "no client asks",
    ),
    Difference(
        106,
        "Spring hides `serverinfo/statusoverrides` (Netflix's own server has it)",
        "may have it",
        "operators of Netflix's server know it",
        "no client asks",
    ),
    Difference(
        114,
        "a heartbeat whose `lastDirtyTimestamp` is no number renews the lease, then fails with 500",
        "as without it: 200",
        "the lease was renewed",
        "none sends it",
    ),
    Difference(
        118,
        "`lastRenewalTimestamp` lies ahead by the lease's duration",
        "either that or the moment of the renewal",
        "no client computes with it",
        "none",
    ),
    Difference(
        128,
        "a status change to what is no status: 500",
        "400, nothing changed",
        "the caller's mistake",
        "operators by hand",
    ),
    Difference(
        130,
        "a status change whose `lastDirtyTimestamp` is no number fails with 500, half done",
        "400, nothing changed",
        "done or not, but not half",
        "operators by hand",
    ),
    Difference(
        132,
        "an override lifted to UP leaves `serviceUpTimestamp` 0",
        "the moment",
        "it is up since then",
        "none reads it",
    ),
    Difference(
        135,
        "an override belongs to an id: under another application the same id gets it with its next renewal",
        "an override belongs to one instance",
        "draining one must not drain another",
        "operators",
    ),
    Difference(
        138,
        "an override UNKNOWN traps the client: each heartbeat is 404, each registration in vain",
        "refused with 400, from a peer with an item 500",
        "nobody can want that loop",
        "operators by hand",
    ),
    Difference(
        153,
        "Spring's self-preservation counts one client more than there are instances; the interval expected of all "
        "clients is a setting",
        "counts instances, and each by the interval that it states",
        "the arithmetic that the documentation tells",
        "operators",
    ),
    Difference(
        161,
        "delta versions begin anew with the process",
        "they grow over restarts, too",
        "py_eureka_client skips a delta whose version and hash it has seen",
        "py_eureka_client",
    ),
    Difference(
        163,
        "a delta lists who went before who came",
        "who came first",
        "Netflix's client, to which the application is new, keeps the dead one and then has to fetch everything",
        "Netflix 1.x, 2.x and Spring",
    ),
    Difference(
        167,
        "each form of one delta (JSON, XML, compact) draws its own version",
        "one version for one state",
        "a version names a state",
        "none compares across forms",
    ),
    Difference(
        173,
        "the end of an override without `lastDirtyTimestamp`, or with a status that is none, is an item 500",
        "200, as without one over HTTP",
        "there is nothing to compare",
        "peers always send it",
    ),
    Difference(
        175,
        "the copy in a 409 shows the instance as it is after the whole batch",
        "as it was at its turn",
        "the answer to an item is about that item",
        "none sends both in one batch",
    ),
    Difference(
        178,
        "a key that it does not know, in an item or beside the list, refuses the batch with 400",
        "ignored",
        "a newer peer may say more",
        "none sends one",
    ),
    Difference(
        179,
        "a batch without a list (`{}`, `null`) is a 500",
        "400",
        "the caller's mistake",
        "none sends it",
    ),
]

BY_CASE = {difference.case: difference for difference in DIFFERENCES}


def as_rows() -> list[str]:
    """The rows of the table in docs/differences.md."""
    return [f"| {' | '.join(map(str, difference))} |" for difference in DIFFERENCES]


if __name__ == "__main__":
    print("\n".join(as_rows()))
