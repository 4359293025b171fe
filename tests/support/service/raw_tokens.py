"""Tokens of exactly the given bytes, signed with the secret of the test service, and key pairs for the others."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from stepwell.api.auth.claims import ClaimRules
from support.service.live_service import SECRET

ISSUER = AUDIENCE = "stepwell"
RULES = ClaimRules(ISSUER, AUDIENCE, 34_560_000)
NOW = int(time.time())
DAY = 86_400  # tests may run long after they were collected
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "tester",
    "iat": NOW,
    "exp": NOW + DAY,
    "scope": "workflows:read workflows:write",
    "tenant_id": "acme",
}


def pems(private: Any) -> tuple[str, str]:
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return secret, public


RSA, RSA_PUBLIC = pems(rsa.generate_private_key(65537, 2048))
EC, EC_PUBLIC = pems(ec.generate_private_key(ec.SECP256R1()))
ED, ED_PUBLIC = pems(ed25519.Ed25519PrivateKey.generate())
OTHER_RSA, _ = pems(rsa.generate_private_key(65537, 2048))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: bytes, payload: bytes, key: bytes = SECRET.encode()) -> str:
    """A token of exactly these bytes, rightly signed with HMAC."""
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def padded() -> str:
    """A good token, with the padding of base64 in each part, rightly signed."""
    parts = [
        base64.urlsafe_b64encode(part).decode() for part in (b'{"alg": "HS256"}', json.dumps(CLAIMS).encode() + b"  ")
    ]
    signed = ".".join(parts)
    mac = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode()}"


def encoded(**changes: Any) -> str:
    """A token with changed claims; None leaves a claim out."""
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return raw(b'{"alg":"HS256","typ":"JWT"}', json.dumps(claims).encode())


def payload(text: str) -> str:
    """A token whose payload is the good one with *text* put in front of its members."""
    return raw(b'{"alg":"HS256"}', b"{" + text.encode() + b"," + json.dumps(CLAIMS).encode()[1:])


def number(claim: str, literal: str) -> str:
    """A token with a literal that Python's JSON doesn't write as the value of *claim*."""
    return raw(b'{"alg":"HS256"}', json.dumps(CLAIMS | {claim: "#"}).replace('"#"', literal).encode())


def at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def header(text: str, key: bytes = SECRET.encode()) -> str:
    return raw(text.encode(), json.dumps(CLAIMS).encode(), key)


def unsigned(alg: str) -> str:
    return f"{b64(json.dumps({'alg': alg}).encode())}.{b64(json.dumps(CLAIMS).encode())}."


def too_long(seconds: object) -> str:
    return f"The lifetime of the token (exp minus iat) is {seconds} s; STEPWELL_JWT_MAX_LIFETIME_S allows 34560000 s."


GOOD = encoded()
