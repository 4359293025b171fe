"""Verifies a webhook of the service (Standard Webhooks), and decodes its payload."""

from collections.abc import Mapping
from typing import Any

from msgspec import DecodeError, Struct, json

from stepwell.client.errors import InvalidWebhook
from stepwell.contract.enums import unknown_members
from stepwell.contract.events import StepNotice, WorkflowNotice

_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class _Notice(Struct):
    data: dict[str, Any]


def verify_webhook(body: bytes | str, headers: Mapping[str, str], secret: str) -> WorkflowNotice | StepNotice:
    """Return the payload of a webhook, once its signature and its time are verified.

    *body* is the body as it was received, *headers* are those of the request, and *secret* is the service's
    STEPWELL_WEBHOOK_SECRET. Raises `InvalidWebhook`, and ValueError if *secret* isn't one.
    """
    # Only receivers need it.
    from standardwebhooks.webhooks import (  # noqa: PLC0415
        EmptyWebhookSecretError,
        Webhook,
        WebhookVerificationError,
    )

    try:
        webhook = Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        raise ValueError("the secret of webhooks is whsec_ and base64") from None
    by_name = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in _HEADERS if name not in by_name]
    if missing:
        raise InvalidWebhook(f"the request has no header {', '.join(missing)}")
    try:
        webhook.verify(body, {name: by_name[name] for name in _HEADERS}, json_parse=False)
    except (WebhookVerificationError, ValueError) as error:
        raise InvalidWebhook(f"the webhook isn't accepted: {error}") from None
    return _payload(body)


def _payload(body: bytes | str) -> WorkflowNotice | StepNotice:
    try:
        content = json.decode(body, type=_Notice)
        with unknown_members():
            if "event" in content.data:
                return json.decode(body, type=StepNotice)
            return json.decode(body, type=WorkflowNotice)
    except (DecodeError, RecursionError) as error:
        raise InvalidWebhook(f"the body isn't that of a webhook of this version: {error}") from None
