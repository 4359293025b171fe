"""Films of a server that speaks OpenAI's Videos API: https://developers.openai.com/api/reference/resources/videos."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from msgspec import Meta, Struct

from stepwell.domain.errors import CallFailed
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus
from stepwell.providers.openai.answers import NAME, OpenAiSession, is_hopeless

_OK = frozenset({200})
_SUCCESS = frozenset(range(200, 300))
_GONE = frozenset({404, 410})
# The others say nothing about the job: the key is wrong, or it is too much at once.
_DELETE_ANSWERS = _SUCCESS | (frozenset(range(400, 500)) - {401, 403, 408, 425, 429})
_ENDED = frozenset({"completed", "failed", "cancelled", "canceled"})
_BEFORE, _AFTER = timedelta(seconds=60), timedelta(minutes=15)
_PAGE, _MAX_PAGES = 100, 20
_MILLISECONDS = 1e11  # what is more than that isn't in seconds

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
        """Width and height, if it has a size like 1280x720."""
        sides = self.size.split("x") if isinstance(self.size, str) else []
        if len(sides) != 2 or not all(side.isdecimal() and len(side) < 6 for side in sides):  # noqa: PLR2004
            return {}
        return {"width": int(sides[0]), "height": int(sides[1])}


class Listed(Struct, frozen=True):
    """`created_at` in seconds since 1970; some servers give milliseconds."""

    id: Id
    created_at: Annotated[float, Meta(ge=0, le=1e14)]
    model: str | None = None
    prompt: str | None = None
    size: str | None = None
    seconds: str | float | None = None

    @property
    def moment(self) -> datetime:
        seconds = self.created_at if self.created_at < _MILLISECONDS else self.created_at / 1000
        return datetime.fromtimestamp(seconds, UTC)

    def agrees(self, wanted: Mapping[str, Any]) -> bool:
        """Whether it has the *wanted* prompt, and says nothing else than what is wanted; silence speaks for it."""
        if self.prompt != wanted["prompt"] or self.model not in (None, wanted["model"]):
            return False
        if self.size not in (None, wanted.get("size", self.size)):
            return False
        try:
            return self.seconds is None or float(self.seconds) == float(wanted.get("seconds", self.seconds))
        except ValueError:
            return False


class _Page(Struct, frozen=True):
    data: list[Listed]
    has_more: bool = False
    last_id: str | None = None


class _Deleted(Struct, frozen=True):
    deleted: bool


def url_of(session: OpenAiSession, job: Job) -> str:
    return f"{session.url}/videos/{quote(job.id, safe='')}"


async def film_of(session: OpenAiSession, job: Job) -> VideoJob:
    """Raises `CallFailed`."""
    answer = await session.api.call("GET", url_of(session, job), session.headers, ok=_OK)
    return session.api.readable(answer, VideoJob)


async def state_of(session: OpenAiSession, job: Job) -> JobState:
    """Raises `CallFailed`. Words that aren't documented are of a film that is being made."""
    film = await film_of(session, job)
    word = sanitised(film.status, 100)
    match film.status:
        case "completed":
            return JobState(status=JobStatus.SUCCEEDED, word=word)
        case "failed":
            told = film.error or _Error()
            code = f"{told.code}: " if isinstance(told.code, str) and told.code else ""
            why = session.words.clean(code + (told.message or "no reason given"))
            error = sanitised(f"{NAME}: {why}")
            return JobState(status=JobStatus.FAILED, word=word, error=error, retryable=not is_hopeless(why))
        case "cancelled" | "canceled":
            return JobState(status=JobStatus.CANCELLED, word=word)
        case _:
            return JobState(status=JobStatus.RUNNING, word=word, progress=_share(film.progress))


async def cancelled(session: OpenAiSession, job: Job) -> CancelAnswer:
    """Delete it, but only while it is made: afterwards that would end nothing but its file. Raises `CallFailed`."""
    try:
        film = await film_of(session, job)
    except CallFailed as error:
        if error.forgotten:
            return CancelAnswer.UNKNOWN_JOB
        raise
    if film.status in _ENDED:
        return CancelAnswer.ENDED
    answer = await session.api.call("DELETE", url_of(session, job), session.headers, ok=_DELETE_ANSWERS)
    if answer.is_success and not answer.body.strip():
        return CancelAnswer.ACCEPTED
    if answer.is_success:
        deleted = session.api.readable(answer, _Deleted).deleted
        return CancelAnswer.ACCEPTED if deleted else CancelAnswer.REFUSED
    if session.words(answer.body) is None:
        raise CallFailed(f"{NAME} answered the cancel {answer.status}, without words of its own")
    return CancelAnswer.UNKNOWN_JOB if answer.status in _GONE else CancelAnswer.REFUSED


async def made_around(session: OpenAiSession, at: datetime) -> AsyncIterator[Listed]:
    """The films that were made around that time. Raises `CallFailed`, also if the list is longer than 20 pages."""
    earliest, latest = at - _BEFORE, at + _AFTER
    query: dict[str, Any] = {"limit": _PAGE, "order": "desc"}
    first: datetime | None = None
    for _ in range(_MAX_PAGES):
        answer = await session.api.call("GET", f"{session.url}/videos?{urlencode(query)}", session.headers, ok=_OK)
        page = session.api.readable(answer, _Page)
        for listed in page.data:
            if earliest <= listed.moment <= latest:
                yield listed
        if not page.has_more or not page.data:
            return
        first, last = first or page.data[0].moment, page.data[-1].moment
        if last < min(first, earliest):  # the order is asked for, but not relied on
            return
        query["after"] = page.last_id or page.data[-1].id
    raise CallFailed(f"{NAME}: more than {_MAX_PAGES} pages of films to look through")


def _share(progress: Any) -> float | None:
    """Of its percents."""
    if isinstance(progress, bool) or not isinstance(progress, int | float):
        return None
    return min(max(progress / 100, 0.0), 1.0)
