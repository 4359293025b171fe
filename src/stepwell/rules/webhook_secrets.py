"""The secrets that sign webhooks, and the signing. No text or `repr` contains a secret.

A tenant's own secrets come from the variable `STEPWELL_WEBHOOK_SECRETS__<TENANT>`. `<TENANT>` is the tenant's name, as
it is or in the notation of variables: letters become capitals, and all other characters except digits become
underscores. So ACME_INC is for the tenants acme-inc and acme.inc. The name as it is takes precedence.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Self

from msgspec import Struct
from standardwebhooks import Webhook

from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.lifecycle.webhook_deliveries import WEBHOOK_URL, WEBHOOKS_NOT_CONFIGURED

PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64
_EXPECTED = f"Expected {PREFIX} and base64 of {_SHORTEST} to {_LONGEST} bytes; spaces between several"
_NO_CAPITAL = re.compile(r"[^A-Z0-9]")


class SigningSecrets(tuple[str, ...]):
    """The active secrets of one signer. All of them sign, so that receivers can change from one to the next."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the secrets in *text*, separated by spaces. Raises ValueError, which doesn't quote *text*."""
        secrets = cls(dict.fromkeys(text.split()))
        if not secrets or not all(map(_is_secret, secrets)):
            raise ValueError(_EXPECTED)
        return secrets

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"

    __str__ = __repr__


class TenantSecrets(dict[str, SigningSecrets]):
    """The secrets of tenants, by the names in the variables. Its `repr` contains only these names."""

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> Self:
        """Return the secrets in *texts*, which have passed `tenant_faults`."""
        return cls({name: SigningSecrets.read(text) for name, text in texts.items()})

    def of(self, tenant: str) -> SigningSecrets | None:
        """Return the tenant's own secrets, or None."""
        return self.get(tenant) or self.get(_NO_CAPITAL.sub("_", tenant.upper()))

    def __repr__(self) -> str:
        return f"<secrets: {', '.join(sorted(self)) or 'none'}>"

    __str__ = __repr__


def tenant_faults(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each name whose text isn't valid secrets, with a message that says what was expected."""
    for name, text in texts.items():
        try:
            SigningSecrets.read(text)
        except ValueError as error:
            yield name, str(error)


class WebhookSecrets(Struct, frozen=True):
    """All secrets of the service. `general` sign for tenants that have no secrets, and without a tenant."""

    general: SigningSecrets
    tenants: TenantSecrets

    def of(self, tenant: str | None) -> SigningSecrets:
        """Return the secrets that sign the webhooks of *tenant*; empty if there are none."""
        return (None if tenant is None else self.tenants.of(tenant)) or self.general

    def check_url(self, tenant: str | None, url: object) -> None:
        """Raise `InvalidRequest` if *url* is a string and no secret is configured to sign webhooks of *tenant*."""
        if isinstance(url, str) and not self.of(tenant):
            raise InvalidRequest([Fault(WEBHOOK_URL, *WEBHOOKS_NOT_CONFIGURED)])

    @property
    def any(self) -> bool:
        return bool(self.general or self.tenants)

    def __repr__(self) -> str:
        return f"WebhookSecrets({self.general!r}, {self.tenants!r})"


def signatures(secrets: Sequence[str], message_id: str, at: datetime, body: str) -> str:
    """Return the `webhook-signature`: one signature for each secret."""
    return " ".join(Webhook(secret).sign(message_id, at, body) for secret in secrets)


def new_secret(random: bytes) -> str:
    return PREFIX + base64.b64encode(random).decode()


def _is_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(PREFIX) and _SHORTEST <= len(key) <= _LONGEST
