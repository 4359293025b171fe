"""Background interactions of the Gemini API, by which Gemini Omni makes videos.

https://ai.google.dev/gemini-api/docs/omni and https://ai.google.dev/gemini-api/docs/interactions. The statuses, the
steps of an answer and the cancel are those of Google's SDK, https://github.com/googleapis/python-genai. The Gemini API
keeps files for 48 hours (https://ai.google.dev/gemini-api/docs/files).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.outbound.http_client import GONE
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus
from stepwell.providers.google.answers import objects_in
from stepwell.providers.google.session import SUCCESS, GoogleSession
from stepwell.providers.google.video_operations import OperationVideo

_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
# Other statuses say nothing about the interaction: the key is wrong, or there are too many calls.
_CANCEL_ANSWERS = SUCCESS | (frozenset(range(400, 500)) - {401, 403, 408, 425, 429})
_COMPLETED, _CANCELLED = "completed", "cancelled"
_FAILED = frozenset({"failed", "incomplete", "budget_exceeded", "requires_action", "continuation_required"})
_SAFETY = re.compile(r"safety|prohibited|blocked|policy|invalid", re.IGNORECASE)
# Our names of the token counts, and Google's.
_COUNTS = {"input_tokens": "total_input_tokens", "output_tokens": "total_output_tokens", "total_tokens": "total_tokens"}


class _SubmitAnswer(Struct):
    id: str


class _Interaction(Struct):
    status: str
    steps: Any = None
    error: Any = None
    errors: Any = None
    usage: Any = None


class Interactions:
    """The interactions at *url*. *name* is the provider's name in messages."""

    def __init__(self, name: str, url: str) -> None:
        self._name, self._url = name, url

    def has(self, job: Job) -> bool:
        """Return whether the job is an interaction. The other jobs are operations, whose names have slashes."""
        return _ID.fullmatch(job.id) is not None

    async def create(self, session: GoogleSession, body: bytes) -> Job:
        """Create an interaction. Raises as `RemoteProvider.submit`."""
        job = Job(id=(await session.submit(self._url, body, _SubmitAnswer)).id)
        if not self.has(job):
            raise OutcomeUnknown(f"{self._name}: the id of the interaction can't be read")
        return job

    async def state(self, session: GoogleSession, job: Job) -> JobState:
        """Return the state of the job. Raises `CallFailed`."""
        interaction = await self._get(session, job)
        word = sanitised(interaction.status, 100)
        if interaction.status == _COMPLETED:
            if _video_in(interaction) is None:
                # The model answered with text, probably a refusal.
                text = _text_of(interaction) or "no reason given"
                why = sanitised(session.masked(f"{self._name}: no video: {text}"), 400)
                return JobState(status=JobStatus.FAILED, word=word, error=why, retryable=False)
            return JobState(status=JobStatus.SUCCEEDED, word=word)
        if interaction.status == _CANCELLED:
            return JobState(status=JobStatus.CANCELLED, word=word)
        if interaction.status in _FAILED:
            message = _problem(interaction) or f"the interaction is {interaction.status}"
            why = sanitised(session.masked(f"{self._name}: {message}"), 400)
            retryable = interaction.status == "failed" and not _SAFETY.search(message)
            return JobState(status=JobStatus.FAILED, word=word, error=why, retryable=retryable)
        return JobState(status=JobStatus.RUNNING, word=word)

    async def video(self, session: GoogleSession, job: Job) -> tuple[OperationVideo, dict[str, Any]]:
        """Return the video, and the other members of the step's result. Raises `CallFailed` before it is completed."""
        interaction = await self._get(session, job)
        if interaction.status != _COMPLETED:
            raise CallFailed(sanitised(f"{self._name}: the interaction is {interaction.status}, not completed", 200))
        video = _video_in(interaction)
        if video is None:
            raise AttemptError(f"{self._name}: the interaction gave no video", retryable=False)
        return video, _usage(interaction.usage)

    async def cancel(self, session: GoogleSession, job: Job) -> CancelAnswer:
        """Ask Google to cancel the job. Raises `CallFailed`."""
        answer = await session.call("POST", f"{self._url}/{job.id}/cancel", b"", ok=_CANCEL_ANSWERS)
        if not answer.is_success:
            if session.error_text(answer.body) is None:
                raise CallFailed(f"{self._name} answered the cancel {answer.status}, without an error message")
            return CancelAnswer.UNKNOWN_JOB if answer.status in GONE else CancelAnswer.REFUSED
        status = session.readable(answer, _Interaction).status
        return CancelAnswer.ENDED if status == _COMPLETED or status in _FAILED else CancelAnswer.ACCEPTED

    async def _get(self, session: GoogleSession, job: Job) -> _Interaction:
        return session.readable(await session.call("GET", f"{self._url}/{job.id}"), _Interaction)


def _video_in(interaction: _Interaction) -> OperationVideo | None:
    for content in _contents(interaction):
        if content.get("type") != "video":
            continue
        if isinstance(uri := content.get("uri"), str) and uri:
            # The URL describes the file; the parameter asks for its bytes.
            return OperationVideo(uri=uri if "?" in uri else f"{uri}?alt=media")
        if isinstance(text := content.get("data"), str) and text:
            return OperationVideo(text=text)
    return None


def _text_of(interaction: _Interaction) -> str:
    texts = (content.get("text") for content in _contents(interaction) if content.get("type") == "text")
    return " ".join(text for text in texts if isinstance(text, str))


def _contents(interaction: _Interaction) -> Iterator[Mapping[str, Any]]:
    for step in objects_in(interaction.steps):
        if step.get("type") == "model_output":
            yield from objects_in(step.get("content"))


def _problem(interaction: _Interaction) -> str:
    errors = [*objects_in(interaction.errors), *objects_in([interaction.error])]
    return "; ".join(error["message"] for error in errors if isinstance(error.get("message"), str))


def _usage(usage: Any) -> dict[str, Any]:
    if not isinstance(usage, Mapping):
        return {}
    counts = {name: usage[theirs] for name, theirs in _COUNTS.items() if isinstance(usage.get(theirs), int)}
    return {"usage": counts} if counts else {}
