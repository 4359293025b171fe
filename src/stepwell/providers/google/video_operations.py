"""Operations of predictLongRunning: how they stand, and the films that they have made.

https://ai.google.dev/gemini-api/docs/video and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation. Codes of errors are
those of google.rpc (https://google.aip.dev/193).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from stepwell.domain.errors import AttemptError
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import JobState, JobStatus
from stepwell.providers.google.answers import filtered

_CANCELLED = 1
# UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE: the request isn't to blame.
_PASSING = frozenset({2, 4, 8, 10, 13, 14})
_DONE, _RUNNING = "done", "running"


class Started(Struct):
    name: str


class VideoOperation(Struct):
    done: bool = False
    error: Any = None
    response: Any = None


class OperationVideo(NamedTuple):
    """Where a film is: at an address, in a bucket ("gs://…"), or here, as base64."""

    uri: str = ""
    text: str = ""


def state_of(name: str, operation: VideoOperation, scrubbed: Callable[[str], str]) -> JobState:
    """*scrubbed* takes what must not be shown out of an error's words."""
    if not operation.done:
        return JobState(status=JobStatus.RUNNING, word=_RUNNING)
    if isinstance(operation.error, Mapping):
        code, message = operation.error.get("code"), operation.error.get("message")
        if code == _CANCELLED:
            return JobState(status=JobStatus.CANCELLED, word=_DONE)
        why = scrubbed(message) if isinstance(message, str) and message else "no reason given"
        return JobState(
            status=JobStatus.FAILED, word=_DONE, error=sanitised(f"{name}: {why}"), retryable=code in _PASSING
        )
    try:
        film_of(name, operation)
    except AttemptError as error:
        return JobState(status=JobStatus.FAILED, word=_DONE, error=scrubbed(str(error)), retryable=error.retryable)
    return JobState(status=JobStatus.SUCCEEDED, word=_DONE)


def film_of(name: str, operation: VideoOperation) -> OperationVideo:
    """The first that it has made. Raises `AttemptError` if there is none."""
    response = operation.response if isinstance(operation.response, Mapping) else {}
    # The Gemini API wraps it once more.
    wrapped = response.get("generateVideoResponse")
    found = wrapped if isinstance(wrapped, Mapping) else response
    film = next(_films(found), None)
    if film is not None:
        return film
    reasons = found.get("raiMediaFilteredReasons")
    if reasons or found.get("raiMediaFilteredCount"):
        raise filtered(name, "film", reasons)
    raise AttemptError(f"{name}: the operation is done, but gave no film", retryable=True)


def _films(found: Mapping[str, Any]) -> Iterator[OperationVideo]:
    for each in _listed(found.get("videos")):
        yield from _film(each, "gcsUri")
    for each in _listed(found.get("generatedSamples")):
        if isinstance(each.get("video"), Mapping):
            yield from _film(each["video"], "uri")


def _film(about: Mapping[str, Any], uri: str) -> Iterator[OperationVideo]:
    if isinstance(about.get(uri), str) and about[uri]:
        yield OperationVideo(uri=about[uri])
    elif isinstance(about.get("bytesBase64Encoded"), str) and about["bytesBase64Encoded"]:
        yield OperationVideo(text=about["bytesBase64Encoded"])


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
