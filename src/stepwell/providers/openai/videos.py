"""Video jobs at servers with OpenAI's Videos API: https://developers.openai.com/api/reference/resources/videos."""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from msgspec import Meta, Struct

from stepwell.basics.errors import CallFailed
from stepwell.outbound.http_client import GONE
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus
from stepwell.providers.openai.answers import NAME, OpenAiSession
from stepwell.providers.shared.provider_api import AFTER, BEFORE

_OK = frozenset({200})
_SUCCESS = frozenset(range(200, 300))
# Other statuses say nothing about the job: the key is wrong, or there are too many calls.
_DELETE_ANSWERS = _SUCCESS | (frozenset(range(400, 500)) - {401, 403, 408, 425, 429})
_ENDED = frozenset({"completed", "failed", "cancelled", "canceled"})
# Errors of a failed video that another attempt would meet again.
_PERMANENT_ERROR = re.compile(
    r"moderation|policy|safety|sensitive|blocked|invalid|unsupported|not allowed", re.IGNORECASE
)
_PAGE, _MAX_PAGES = 100, 20
_MILLISECONDS = 1e11  # larger times are in milliseconds

Id = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,200}(?!\n)$")]


class CreatedVideo(Struct, frozen=True):
    id: Id


class _Error(Struct, frozen=True):
    message: str | None = None
    code: Any = None


class VideoJob(Struct, frozen=True):
    status: str
    progress: Any = None
    error: _Error | None = None
    model: Any = None
    size: Any = None

    @property
    def sides(self) -> dict[str, int]:
        """Width and height, if the size is like 1280x720; else empty."""
        sides = self.size.split("x") if isinstance(self.size, str) else []
        if len(sides) != 2 or not all(side.isdecimal() and len(side) < 6 for side in sides):  # noqa: PLR2004
            return {}
        return {"width": int(sides[0]), "height": int(sides[1])}


class ListedVideo(Struct, frozen=True):
    """A video in the list. `created_at` is in seconds since 1970; some servers send milliseconds."""

    id: Id
    created_at: Annotated[float, Meta(ge=0, le=1e14)]
    model: str | None = None
    prompt: str | None = None
    size: str | None = None
    seconds: str | float | None = None

    @property
    def created(self) -> datetime:
        seconds = self.created_at if self.created_at < _MILLISECONDS else self.created_at / 1000
        return datetime.fromtimestamp(seconds, UTC)

    def matches(self, wanted: Mapping[str, Any]) -> bool:
        """Return whether the prompt and all other listed members are those *wanted*. Missing members match."""
        if self.prompt != wanted["prompt"] or self.model not in (None, wanted["model"]):
            return False
        if self.size not in (None, wanted.get("size", self.size)):
            return False
        try:
            return self.seconds is None or float(self.seconds) == float(wanted.get("seconds", self.seconds))
        except ValueError:
            return False


class _Page(Struct, frozen=True):
    data: list[ListedVideo]
    has_more: bool = False
    last_id: str | None = None


class _DeleteReply(Struct, frozen=True):
    deleted: bool


def url_of(session: OpenAiSession, job: Job) -> str:
    return f"{session.url}/videos/{quote(job.id, safe='')}"


async def read_video(session: OpenAiSession, job: Job) -> VideoJob:
    """Read the state of a video job. Raises `CallFailed`."""
    answer = await session.api.call("GET", url_of(session, job), session.headers, ok=_OK)
    return session.api.readable(answer, VideoJob)


async def state_of(session: OpenAiSession, job: Job) -> JobState:
    """Return the state for the port. An undocumented status means running. Raises `CallFailed`."""
    video = await read_video(session, job)
    word = sanitised(video.status, 100)
    match video.status:
        case "completed":
            return JobState(status=JobStatus.SUCCEEDED, word=word)
        case "failed":
            failure = video.error or _Error()
            code = f"{failure.code}: " if isinstance(failure.code, str) and failure.code else ""
            why = session.words.masked(code + (failure.message or "no reason given"))
            error = sanitised(f"{NAME}: {why}")
            return JobState(status=JobStatus.FAILED, word=word, error=error, retryable=not _PERMANENT_ERROR.search(why))
        case "cancelled" | "canceled":
            return JobState(status=JobStatus.CANCELLED, word=word)
        case _:
            return JobState(status=JobStatus.RUNNING, word=word, progress=_progress(video.progress))


async def cancel_video(session: OpenAiSession, job: Job) -> CancelAnswer:
    """Delete the job if it is running: later, a delete would only remove its file. Raises `CallFailed`."""
    try:
        video = await read_video(session, job)
    except CallFailed as error:
        if error.forgotten:
            return CancelAnswer.UNKNOWN_JOB
        raise
    if video.status in _ENDED:
        return CancelAnswer.ENDED
    answer = await session.api.call("DELETE", url_of(session, job), session.headers, ok=_DELETE_ANSWERS)
    if answer.is_success and not answer.body.strip():
        return CancelAnswer.ACCEPTED
    if answer.is_success:
        deleted = session.api.readable(answer, _DeleteReply).deleted
        return CancelAnswer.ACCEPTED if deleted else CancelAnswer.REFUSED
    if session.words(answer.body) is None:
        raise CallFailed(f"{NAME} answered the cancel {answer.status}, without an error message")
    return CancelAnswer.UNKNOWN_JOB if answer.status in GONE else CancelAnswer.REFUSED


async def list_around(session: OpenAiSession, at: datetime) -> AsyncIterator[ListedVideo]:
    """Yield the videos that were created around *at*. Raises `CallFailed`, also if the list has more than 20 pages."""
    earliest, latest = at - BEFORE, at + AFTER
    query: dict[str, Any] = {"limit": _PAGE, "order": "desc"}
    first: datetime | None = None
    for _ in range(_MAX_PAGES):
        answer = await session.api.call("GET", f"{session.url}/videos?{urlencode(query)}", session.headers, ok=_OK)
        page = session.api.readable(answer, _Page)
        for listed in page.data:
            if earliest <= listed.created <= latest:
                yield listed
        if not page.has_more or not page.data:
            return
        first, last = first or page.data[0].created, page.data[-1].created
        if last < min(first, earliest):  # servers may ignore the order in the query
            return
        query["after"] = page.last_id or page.data[-1].id
    raise CallFailed(f"{NAME}: more than {_MAX_PAGES} pages of videos to look through")


def _progress(progress: Any) -> float | None:
    """Return the progress from 0 to 1; *progress* is a percentage."""
    if isinstance(progress, bool) or not isinstance(progress, int | float):
        return None
    return min(max(progress / 100, 0.0), 1.0)
