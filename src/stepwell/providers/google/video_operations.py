"""Operations of predictLongRunning (Veo): their states, and the videos in them.

https://ai.google.dev/gemini-api/docs/video and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation. The error codes
are those of google.rpc (https://google.aip.dev/193).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from stepwell.basics.errors import AttemptError
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import JobState, JobStatus
from stepwell.providers.google.answers import objects_in, withheld

_CANCELLED = 1
# UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE: a retry may succeed.
_TRANSIENT_CODES = frozenset({2, 4, 8, 10, 13, 14})
_DONE, _RUNNING = "done", "running"


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
        if code == _CANCELLED:
            return JobState(status=JobStatus.CANCELLED, word=_DONE)
        why = masked(message) if isinstance(message, str) and message else "no reason given"
        return JobState(
            status=JobStatus.FAILED, word=_DONE, error=sanitised(f"{name}: {why}"), retryable=code in _TRANSIENT_CODES
        )
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
