"""Signed URLs: of artifacts, for callbacks of a provider about one attempt, and links by which anyone can decide.

What must hold:
- A URL or token is accepted only in the exact notation in which it was made. Every other notation (percent-escapes,
  another order or case, more parameters, padding) is refused, even if it names the same file. One addition is accepted:
  `&w=` and `&download=1`, in this order, behind the signature of an artifact. They show the same file in another form.
- Only the service can make a decision link. It is bound to the id of a wait, so it is dead once that wait has ended,
  and a step that waits again has another one. It survives pause and resume, which leave the wait as it is.
- A decision link is valid for the time to live of signed URLs, and at least until its wait times out. If the wait has
  no limit, neither has the link. So the link of a wait is always the same, whenever it is shown.
- The signed text of a decision link is in the query, under a name that `api.routes.middleware` and the log know.
"""

import re
from datetime import datetime, timedelta
from hmac import compare_digest
from urllib.parse import quote, unquote
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import WaitKind
from stepwell.lifecycle.model import Wait
from stepwell.lifecycle.records import StepRecord
from stepwell.rules.access.signed_texts import SignedTexts

ARTIFACTS_PATH = "/api/v1/artifacts/"
CALLBACKS_PATH = "/api/v1/callbacks/"
DECISION_PATH = "/decide"
SIGNATURE = "signature"  # the name of the parameter of a decision link
_MAX_LINK_CHARS = 128
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
        return self._base + CALLBACKS_PATH + self._texts.sign((workflow_id, task_id))

    def attempt(self, token: str) -> tuple[UUID, UUID] | None:
        """Return the ids of the workflow and the task that *token* is for; None if it wasn't made here."""
        return self._texts.read(token)


class DecisionLink(Struct, frozen=True, array_like=True):
    """The wait that a link is for. `expires_at` is None if the link holds until the decision."""

    workflow_id: UUID
    position: int
    wait_id: UUID
    expires_at: datetime | None

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


class DecisionLinks:
    """Makes and reads links below *base_url*. *ttl_s* is the time to live of signed URLs, in seconds."""

    def __init__(self, secret: bytes, base_url: str, ttl_s: int) -> None:
        self._texts = SignedTexts(secret, "decision link", DecisionLink, _MAX_LINK_CHARS)
        self._base, self._ttl = base_url.rstrip("/"), timedelta(seconds=ttl_s)

    def url(self, workflow_id: UUID, position: int, wait: Wait) -> str:
        """Return the link by which anyone can decide for *wait* of the step at *position*."""
        end = None if wait.until is None else max(wait.until, wait.since + self._ttl)
        link = DecisionLink(workflow_id, position, wait.id, end)
        return f"{self._base}{DECISION_PATH}?{SIGNATURE}={self._texts.sign(link)}"

    def url_of_step(self, workflow_id: UUID, step: StepRecord) -> str | None:
        """Return the link of *step*; None if it doesn't wait for a decision."""
        wait = None if step.state.flow is None else step.state.flow.wait
        if wait is None or wait.kind is not WaitKind.DECISION:
            return None
        return self.url(workflow_id, step.state.position, wait)

    def read(self, signature: str) -> DecisionLink | None:
        """Return the link with this *signature*, expired or not; None if it wasn't made here."""
        return self._texts.read(signature)
