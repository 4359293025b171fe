"""The secrets that webhooks are signed with, and the signing. None of them is ever shown.

A tenant's own come from `STEPWELL_WEBHOOK_SECRETS__<TENANT>`. A name in capitals, digits and underscores, which is all
that a shell lets one write, stands for every tenant that becomes it when its letters are made capitals and everything
else underscores; any other name stands for exactly the tenant of that name, and goes before.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Self

from msgspec import Struct
from standardwebhooks import Webhook

PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64
_EXPECTED = f"Expected {PREFIX} and base64 of {_SHORTEST} to {_LONGEST} bytes; spaces between several"
_NO_CAPITAL = re.compile(r"[^A-Z0-9]")


class SigningSecrets(tuple[str, ...]):
    """The active secrets: all of them sign, so that receivers can change from one to the other."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError, which doesn't quote *text*."""
        secrets = cls(dict.fromkeys(text.split()))
        if not secrets or not all(map(_is_secret, secrets)):
            raise ValueError(_EXPECTED)
        return secrets

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"

    __str__ = __repr__


class TenantSecrets(dict[str, SigningSecrets]):
    """By the names in the variables. Shows nothing but these."""

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> Self:
        """*texts* have passed `tenant_faults`."""
        return cls({name: SigningSecrets.read(text) for name, text in texts.items()})

    def of(self, tenant: str) -> SigningSecrets | None:
        return self.get(tenant) or self.get(_NO_CAPITAL.sub("_", tenant.upper()))

    def __repr__(self) -> str:
        return f"<secrets: {', '.join(sorted(self)) or 'none'}>"

    __str__ = __repr__


def tenant_faults(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names whose texts are no secrets, each with what was expected."""
    for name, text in texts.items():
        try:
            SigningSecrets.read(text)
        except ValueError as error:
            yield name, str(error)


class WebhookSecrets(Struct, frozen=True):
    """*general* are for whoever has none of their own."""

    general: SigningSecrets
    tenants: TenantSecrets

    def of(self, tenant: str | None) -> SigningSecrets:
        """Those that sign what *tenant* is told; empty where nothing can."""
        return (None if tenant is None else self.tenants.of(tenant)) or self.general

    @property
    def any(self) -> bool:
        return bool(self.general or self.tenants)

    def __repr__(self) -> str:
        return f"WebhookSecrets({self.general!r}, {self.tenants!r})"


def signatures(secrets: Sequence[str], message_id: str, at: datetime, body: str) -> str:
    """`webhook-signature`: one for each secret."""
    return " ".join(Webhook(secret).sign(message_id, at, body) for secret in secrets)


def made_secret(random: bytes) -> str:
    return PREFIX + base64.b64encode(random).decode()


def _is_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(PREFIX) and _SHORTEST <= len(key) <= _LONGEST
