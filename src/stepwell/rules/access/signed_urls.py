"""Signed URLs: of artifacts, valid until a time in the URL, and for callbacks of a provider about one attempt.

What must hold: a URL or token is accepted only in the exact notation in which it was made. Every other notation
(percent-escapes, another order or case, more parameters, padding) is refused, even if it names the same file. One
addition is accepted: `&w=` and `&download=1`, in this order, behind the signature of an artifact. They show the same
file in another form.
"""

import re
from datetime import datetime, timedelta
from hmac import compare_digest
from urllib.parse import quote, unquote
from uuid import UUID

from stepwell.rules.access.signed_texts import SignedTexts

ARTIFACTS_PATH = "/api/v1/artifacts/"
CALLBACKS_PATH = "/api/v1/callbacks/"
MIN_SECRET_BYTES = 32
_MAX_TOKEN_CHARS = 96
_FORM = r"(?P<form>(?:&w=[0-9]{1,4})?(?:&download=1)?)"
_TARGET = re.compile(re.escape(ARTIFACTS_PATH) + r"([^?]+)\?expires=([0-9]{1,19})&signature=[A-Za-z0-9_-]+" + _FORM)


class SignedUrls:
    """Makes and checks signed URLs of artifacts under *base_url*. Each is valid for *ttl_s* seconds at most."""

    def __init__(self, secret: str | bytes, base_url: str, ttl_s: int) -> None:
        key = secret.encode() if isinstance(secret, str) else secret
        if len(key) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret for signed addresses must have at least {MIN_SECRET_BYTES} bytes")
        self._texts = SignedTexts(key, "artifact URL", tuple[str, int])
        self._base = base_url.rstrip("/")
        self.ttl_s = ttl_s

    def url(self, path: str, now: datetime) -> str:
        """Return a URL by which anyone can read the artifact at *path* until *now* plus the time to live."""
        return self.url_until(path, now + timedelta(seconds=self.ttl_s))

    def url_until(self, path: str, end: datetime) -> str:
        """Return a URL by which anyone can read the artifact at *path* until *end*, in whole seconds."""
        return self._base + self.target_until(path, end)

    def target_until(self, path: str, end: datetime) -> str:
        """Return what `url_until` does without the base, for a page of this service."""
        return self._target(path, int(end.timestamp()))

    def verify(self, target: str, now: datetime) -> bool:
        """Return whether *target*, the raw path and query of a request, is of a URL made here that is still valid."""
        match = _TARGET.fullmatch(target)
        if match is None or not target.isascii():
            return False
        expires = int(match[2])
        genuine = compare_digest(self._target(unquote(match[1]), expires), target.removesuffix(match["form"]))
        return genuine and now.timestamp() < expires

    def _target(self, path: str, expires: int) -> str:
        return f"{ARTIFACTS_PATH}{quote(path)}?expires={expires}&signature={self._texts.signature((path, expires))}"


class CallbackUrls:
    """Makes the URLs under *base_url* by which a provider reports on one attempt, and reads the tokens in them.

    Only the service can make such a token. All that its holder can do is to have the attempt's job polled.
    """

    def __init__(self, secret: bytes, base_url: str) -> None:
        self._texts = SignedTexts(secret, "callback", tuple[UUID, UUID], _MAX_TOKEN_CHARS)
        self._base = base_url.rstrip("/")

    def url(self, workflow_id: UUID, task_id: UUID) -> str:
        """Return the callback URL of the attempt *task_id*."""
        return self._base + CALLBACKS_PATH + self._texts.sign((workflow_id, task_id))

    def attempt(self, token: str) -> tuple[UUID, UUID] | None:
        """Return the ids of the workflow and the task that *token* is for; None if it wasn't made here."""
        return self._texts.read(token)
