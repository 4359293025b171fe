"""The jobs by which Google makes videos: operations (Veo), and interactions in the background (Omni).

Operations of predictLongRunning: https://ai.google.dev/gemini-api/docs/video and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation. The error codes are
those of google.rpc (https://google.aip.dev/193).

Interactions of the Gemini API: https://ai.google.dev/gemini-api/docs/omni and
https://ai.google.dev/gemini-api/docs/interactions. The statuses, the steps of an answer and the cancel are those of
Google's SDK, https://github.com/googleapis/python-genai. The Gemini API keeps files for 48 hours
(https://ai.google.dev/gemini-api/docs/files).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.outbound.http_client import GONE
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus
from stepwell.providers.google.answers import objects_in, withheld
from stepwell.providers.google.session import SUCCESS, GoogleSession

_CANCELLED_CODE = 1
# UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE: a retry may succeed.
_TRANSIENT_CODES = frozenset({2, 4, 8, 10, 13, 14})
_DONE, _RUNNING = "done", "running"
_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
# Other statuses say nothing about the interaction: the key is wrong, or there are too many calls.
_CANCEL_ANSWERS = SUCCESS | (frozenset(range(400, 500)) - {401, 403, 408, 425, 429})
_COMPLETED, _CANCELLED = "completed", "cancelled"
_FAILED = frozenset({"failed", "incomplete", "budget_exceeded", "requires_action", "continuation_required"})
_SAFETY = re.compile(r"safety|prohibited|blocked|policy|invalid", re.IGNORECASE)
# Our names of the token counts, and Google's.
_COUNTS = {"input_tokens": "total_input_tokens", "output_tokens": "total_output_tokens", "total_tokens": "total_tokens"}


class StartedOperation(Struct):
    name: str


class VideoOperation(Struct):
    """The state of an operation, with its response or error."""

    done: bool = False
    error: Any = None
    response: Any = None


class OperationVideo(NamedTuple):
    """A video: its URL, which may be in a bucket ("gs://…"), or its data as base64 in `text`."""

    uri: str = ""
    text: str = ""


def state_of(name: str, operation: VideoOperation, masked: Callable[[str], str]) -> JobState:
    """Return the state for the port. *masked* removes secrets from an error's message."""
    if not operation.done:
        return JobState(status=JobStatus.RUNNING, word=_RUNNING)
    if isinstance(operation.error, Mapping):
        code, message = operation.error.get("code"), operation.error.get("message")
        if code == _CANCELLED_CODE:
            return JobState(status=JobStatus.CANCELLED, word=_DONE)
        why = masked(message) if isinstance(message, str) and message else "no reason given"
        again = code in _TRANSIENT_CODES
        return JobState(status=JobStatus.FAILED, word=_DONE, error=sanitised(f"{name}: {why}"), retryable=again)
    try:
        video_of(name, operation)
    except AttemptError as error:
        return JobState(status=JobStatus.FAILED, word=_DONE, error=masked(str(error)), retryable=error.retryable)
    return JobState(status=JobStatus.SUCCEEDED, word=_DONE)


def video_of(name: str, operation: VideoOperation) -> OperationVideo:
    """Return the first video of a finished operation. Raises `AttemptError` if there is none."""
    response = operation.response if isinstance(operation.response, Mapping) else {}
    # The Gemini API nests the response once more.
    wrapped = response.get("generateVideoResponse")
    content = wrapped if isinstance(wrapped, Mapping) else response
    video = next(_videos(content), None)
    if video is not None:
        return video
    reasons = content.get("raiMediaFilteredReasons")
    if reasons or content.get("raiMediaFilteredCount"):
        raise withheld(name, "video", reasons)
    raise AttemptError(f"{name}: the operation is done, but gave no video", retryable=True)


def _videos(content: Mapping[str, Any]) -> Iterator[OperationVideo]:
    for each in objects_in(content.get("videos")):
        yield from _video(each, "gcsUri")
    for each in objects_in(content.get("generatedSamples")):
        if isinstance(each.get("video"), Mapping):
            yield from _video(each["video"], "uri")


def _video(metadata: Mapping[str, Any], uri: str) -> Iterator[OperationVideo]:
    if isinstance(metadata.get(uri), str) and metadata[uri]:
        yield OperationVideo(uri=metadata[uri])
    elif isinstance(metadata.get("bytesBase64Encoded"), str) and metadata["bytesBase64Encoded"]:
        yield OperationVideo(text=metadata["bytesBase64Encoded"])


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
