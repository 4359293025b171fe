"""Decision links: URLs by which anyone can decide for one wait of one step, without a token.

What must hold:
- Only the service can make a link. It is bound to the id of a wait, so it is dead once that wait has ended, and a step
  that waits again has another one. It survives pause and resume, which leave the wait as it is.
- A link is valid for the time to live of signed URLs, and at least until its wait times out. If the wait has no limit,
  neither has the link. So the link of a wait is always the same, whenever it is shown.
- The signed text is in the query, under a name that `api.routes.middleware` and the log know.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import WaitKind
from stepwell.lifecycle.model import Wait
from stepwell.lifecycle.records import StepRecord
from stepwell.rules.access.signed_texts import SignedTexts

DECISION_PATH: Final = "/decide"
SIGNATURE: Final = "signature"  # the name of the parameter
_MAX_CHARS: Final = 128


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
        self._texts = SignedTexts(secret, "decision link", DecisionLink, _MAX_CHARS)
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
