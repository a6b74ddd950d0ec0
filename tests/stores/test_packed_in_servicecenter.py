"""Eureka's instances in ServiceCenter's documents: exact there and back, and a stated loss where a document is full."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from facade.errors import UpstreamRefused
from facade.eureka import mapping as eureka
from facade.eureka.records import DataCenterInfo, InstanceInfo, LeaseInfo, Port
from facade.registry.model import Instance, Space, Status
from facade.registry.rules import MARKS, Policy, overridden
from facade.servicecenter.client import REGISTER_BYTES, encode_registration
from facade.servicecenter.records import MicroServiceInstance
from facade.servicecenter.validation import check_instance
from facade.stores.packed_in_servicecenter import HOST_NAME_LENGTH, is_packed, is_truncated, marks, pack, unpack
from tests.eureka.registrations import instance
from tests.registry.records import qualified

POLICY = Policy()

words = st.text(st.characters(codec="utf-8"), max_size=20)
some_words = words.filter(lambda word: any(not letter.isspace() for letter in word))
keys = words.filter(lambda key: not key.startswith(MARKS))
statuses = st.sampled_from([Status.UP, Status.DOWN, Status.STARTING, Status.OUT_OF_SERVICE, Status.UNKNOWN])

infos = st.builds(
    InstanceInfo,
    instance_id=some_words,
    host_name=some_words | some_words.map(lambda word: word + "h" * 200),
    app=st.sampled_from(["A", "ÜBER", "A B", "ACCOUNT-SERVER"]),
    ip_addr=words,
    sid=st.none() | words,
    status=statuses,
    overridden_status=st.sampled_from([Status.UNKNOWN, Status.OUT_OF_SERVICE]),
    port=st.builds(Port, st.integers(0, 65535), st.booleans()),
    secure_port=st.builds(Port, st.integers(0, 65535), st.booleans()),
    country_id=st.integers(0, 9),
    data_center_info=st.one_of(
        st.just(DataCenterInfo("MyOwn")),
        st.builds(
            DataCenterInfo,
            st.just("Amazon"),
            st.dictionaries(st.sampled_from(["availability-zone", "instance-id", "ami-id"]), words),
        ),
    ),
    lease_info=st.builds(LeaseInfo, st.integers(1, 3600), st.integers(1, 2_147_483)),
    metadata=st.dictionaries(st.sampled_from(["zone", "region", ""]) | keys, words, max_size=5),
    app_group_name=st.none() | words,
    home_page_url=st.none() | words,
    status_page_url=st.none() | words,
    health_check_url=st.none() | words,
    secure_health_check_url=st.none() | words,
    vip_address=st.none() | words,
    secure_vip_address=st.none() | words,
    last_dirty_ms=st.integers(0, 2**62),
    asg_name=st.none() | words,
)
spaces = st.builds(Space, environment=st.sampled_from(["", "production"]))
born = st.builds(lambda info, space: eureka.to_instance(info, space, POLICY, 0), infos, spaces)
instances = born | st.builds(overridden, born, statuses | st.just(Status.TESTING))
full = st.builds(
    lambda one, metadata, url: eureka.to_instance(
        replace(
            one,
            metadata=metadata,
            home_page_url=url,
            data_center_info=DataCenterInfo("Amazon", {"availability-zone": "eu-1a", "ami-id": url}),
        ),
        Space(),
        POLICY,
        0,
    ),
    infos,
    st.dictionaries(keys, st.text(st.characters(codec="utf-8"), max_size=1500), max_size=12),
    st.text(st.characters(codec="ascii"), max_size=3000),
)


def unpacked(document: MicroServiceInstance, of: Instance) -> Instance:
    found = unpack(document, of.service, POLICY)
    assert found is not None
    return found


@given(instances)
def test_there_and_back_is_exact(one: Instance) -> None:
    document = pack(one)
    assume(not is_truncated(document))

    assert unpacked(document, one) == one


@given(instances | full)
def test_what_is_packed_is_what_the_real_server_takes(one: Instance) -> None:
    """Source: servicecomb-service-center, server/service/validator; 64 characters are its limit, ours is longer."""
    document = pack(one)

    check_instance(document)
    assert len(document.host_name) <= HOST_NAME_LENGTH
    assert len(encode_registration(document)) <= REGISTER_BYTES


@given(full)
def test_a_full_document_loses_only_what_it_may(one: Instance) -> None:
    back = unpacked(pack(one), one)

    assert back.metadata.items() <= one.metadata.items()
    lost = {"metadata", "native", "reported", "host", "lease", "dirty_ms"}
    assert replace(back, **{name: getattr(one, name) for name in lost}) == one


@given(full)
def test_packing_what_was_lost_already_loses_no_more(one: Instance) -> None:
    back = unpacked(pack(one), one)

    assert unpacked(pack(back), back) == back


def test_page_urls_go_first() -> None:
    one = instance(homePageUrl="http://h/" + "".join(str(number) for number in range(2500)), vipAddress="V")
    back = eureka.from_instance(unpacked(pack(one), one))

    assert is_truncated(pack(one))
    assert back is not None
    assert (back.home_page_url, back.vip_address) == (None, "V")


def test_metadata_goes_last_and_its_largest_entry_first() -> None:
    one = instance(metadata={"large": "".join(str(number) for number in range(2000)), "small": "1"})

    assert unpacked(pack(one), one).metadata == {"small": "1"}


def test_an_operator_s_status_there_is_an_override() -> None:
    one = instance()
    said = replace(pack(one), status="OUTOFSERVICE")

    assert unpacked(said, one) == overridden(one, Status.OUT_OF_SERVICE)


def test_up_takes_an_override_back() -> None:
    one = instance()
    said = replace(pack(overridden(one, Status.DOWN)), status="UP")

    assert unpacked(said, one) == one


def test_changed_properties_are_its_metadata() -> None:
    one = instance(metadata={"a": "b"})
    document = pack(one)
    changed = replace(document, properties={**marks(document), "c": "d"})

    assert unpacked(changed, one).metadata == {"c": "d"}


def test_marks_that_were_copied_to_another_instance_are_not_believed() -> None:
    one = instance()

    assert unpack(replace(pack(one), instance_id="another"), one.service, POLICY) is None


@pytest.mark.parametrize("doc", ["", "?", "AAAA", "eJw"], ids=str)
def test_a_spoilt_rest_is_worked_out_from_the_plain_fields(doc: str) -> None:
    one = instance(app="A", vipAddress="a")
    document = pack(one)
    spoilt = replace(document, properties={**document.properties, "_eureka.doc": doc})
    back = unpacked(spoilt, one)

    assert (back.key, back.service, back.endpoints, back.status) == (one.key, one.service, one.endpoints, one.status)


def test_one_of_servicecenter_s_own_is_not_marked() -> None:
    document = pack(qualified(native=b'{"healthCheck":{"mode":"push","interval":1,"times":1}}'))

    assert not is_packed(document)
    assert document.health_check is not None
    assert (document.health_check.interval, document.health_check.times) == (5, 3)


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(replace(instance(), host=" " * 70), id="blank-host"),
        pytest.param(replace(instance(), portable_id="a:b"), id="id"),
        pytest.param(replace(instance(), endpoints=("rest://" + "h" * 5000,)), id="endpoint-too-long"),
    ],
)
def test_what_would_be_refused_there_is_refused_here(one: Instance) -> None:
    with pytest.raises(UpstreamRefused):
        pack(one)
