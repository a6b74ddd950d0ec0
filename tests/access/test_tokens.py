"""Tokens: what is taken, and all that is not (quality S7)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from facade.access.refusals import BadCredentials, TokenExpired
from facade.access.tokens import Claim, Tokens
from facade.clock import ManualClock


@pytest.fixture
def tokens(pem: str, clock: ManualClock) -> Tokens:
    return Tokens(pem, clock)


@pytest.fixture(scope="session")
def key(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def claims(clock: ManualClock, **changes: Any) -> dict[str, Any]:
    stated = {"account": "anna", "roles": ["developer"], "exp": clock.now_ms() // 1000 + 900} | changes
    return {name: value for name, value in stated.items() if value is not None}


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_says_who_and_until_when_and_nothing_else(tokens: Tokens, clock: ManualClock) -> None:
    token = tokens.issue("anna", ("developer",), 900)

    head, body, _ = token.split(".")
    assert base64.urlsafe_b64decode(head + "==") == b'{"alg":"RS512","typ":"JWT"}'
    assert json.loads(base64.urlsafe_b64decode(body + "==")) == claims(clock)
    assert tokens.read(token) == Claim("anna", clock.now_ms() // 1000 + 900)


def test_a_token_ends_to_the_second_also_when_it_has_been_read_before(tokens: Tokens, clock: ManualClock) -> None:
    token = tokens.issue("anna", ("developer",), 900)
    tokens.read(token)
    clock.advance(899)
    tokens.read(token)

    clock.advance(1)
    with pytest.raises(TokenExpired):
        tokens.read(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"account": None},
        {"roles": None},
        {"roles": []},
        {"roles": "admin"},
        {"roles": [1]},
        {"exp": None},
        {"exp": "9"},
    ],
    ids=str,
)
def test_a_token_of_ours_that_lacks_a_claim_is_refused(
    tokens: Tokens, key: rsa.RSAPrivateKey, clock: ManualClock, changes: dict[str, Any]
) -> None:
    token = jwt.encode(claims(clock, **changes), key, algorithm="RS512")

    with pytest.raises(BadCredentials):
        tokens.read(token)


def test_a_token_that_is_not_valid_yet_is_refused(tokens: Tokens, key: rsa.RSAPrivateKey, clock: ManualClock) -> None:
    token = jwt.encode(claims(clock, nbf=clock.now_ms() // 1000 + 60), key, algorithm="RS512")

    with pytest.raises(TokenExpired):
        tokens.read(token)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "PS512"])
def test_one_algorithm_is_taken_whatever_the_key(
    tokens: Tokens, key: rsa.RSAPrivateKey, clock: ManualClock, algorithm: str
) -> None:
    with pytest.raises(BadCredentials):
        tokens.read(jwt.encode(claims(clock), key, algorithm=algorithm))


def test_the_public_key_is_no_password(tokens: Tokens, key: rsa.RSAPrivateKey, clock: ManualClock) -> None:
    """HMAC with what everybody may know: the classic confusion."""
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for algorithm, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
        signed = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims(clock))}"
        mac = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), digest)).rstrip(b"=").decode()
        with pytest.raises(BadCredentials):
            tokens.read(f"{signed}.{mac}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_an_unsigned_token_is_refused(tokens: Tokens, clock: ManualClock, algorithm: str) -> None:
    with pytest.raises(BadCredentials):
        tokens.read(f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims(clock))}.")


def test_of_an_old_token_its_age_is_told_whoever_signed_it(tokens: Tokens, clock: ManualClock) -> None:
    """Source: measured with v2.2.0: 401205 also when the signature is bad or the algorithm `none`."""
    old = part(claims(clock, exp=1))
    with pytest.raises(TokenExpired):
        tokens.read(f"{part({'alg': 'RS512', 'typ': 'JWT'})}.{old}.AAAA")
    with pytest.raises(TokenExpired):
        tokens.read(f"{part({'alg': 'none', 'typ': 'JWT'})}.{old}.")


def test_a_token_of_another_key_is_refused(tokens: Tokens, clock: ManualClock) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    with pytest.raises(BadCredentials):
        tokens.read(jwt.encode(claims(clock), stranger, algorithm="RS512"))


@pytest.mark.parametrize("token", ["", ".", "..", "x", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "\udc80", "x" * 8_192])
def test_whatever_the_token_reading_it_ends(tokens: Tokens, token: str) -> None:
    with pytest.raises(BadCredentials):
        tokens.read(token)
