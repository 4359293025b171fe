"""A server of key sets (JWKS), on which keys can be exchanged and answers can go wrong."""

from collections.abc import Mapping
from typing import Any

import jwt

from support.emulators.base import Call, Emulator, Reply

FETCH = "fetch"


def public_jwk(pem: str, algorithm: str, **members: Any) -> dict[str, Any]:
    """The JWK of a public key in PEM, with further members."""
    method = jwt.get_algorithm_by_name(algorithm)
    return {**method.to_jwk(method.prepare_key(pem), as_dict=True), **members}


class KeyServer(Emulator):
    """Serves `reply`, which holds `keys` by default. `address` is the URL of the key set."""

    keys: list[dict[str, Any]]
    reply: Reply | None = None

    @property
    def address(self) -> str:
        return f"{self.url}/keys?tenant=1"

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002 - all are the same
        return FETCH if path == "/keys" else "other"

    async def answer(self, call: Call) -> Reply:
        assert (call.method, call.query) == ("GET", {"tenant": "1"})
        return self.reply or Reply(body={"keys": self.keys})
