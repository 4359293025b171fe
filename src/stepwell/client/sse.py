"""The frames of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from collections.abc import Iterator

from msgspec import Struct

from stepwell.client.errors import UnexpectedResponse

_DEFAULT_TYPE = "message"
_MAX_FRAME = 16 * 1024 * 1024  # bytes. The service's largest events have a few kB


class SseFrame(Struct, frozen=True):
    """An event of a stream. `id` is the last id of the stream so far; "" if there is none yet."""

    type: str
    data: str
    id: str


class FrameParser:
    """Makes frames of the bytes of a stream. `last_id` is the position after which another stream continues.

    Only line feeds end a line: JSON may contain the other characters that Python takes for the end of one.
    """

    def __init__(self, last_id: str) -> None:
        self.last_id = self._id = last_id
        self._parts, self._size = list[bytes](), 0  # of the line that isn't complete; bytes of the frame so far
        self._type, self._data = _DEFAULT_TYPE, list[str]()

    def feed(self, chunk: bytes) -> Iterator[SseFrame]:
        """Yield the frames with data that *chunk* completes. Raises `UnexpectedResponse` for a stream that can't be the
        service's.
        """
        first, *others = chunk.split(b"\n")
        self._add_part(first)
        for part in others:
            line, self._parts = b"".join(self._parts), []
            frame = self._add(line.rstrip(b"\r").decode(errors="replace"))
            if frame is not None:
                yield frame
            self._add_part(part)

    def _add_part(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > _MAX_FRAME:
            raise UnexpectedResponse(f"an event of the stream has over {_MAX_FRAME >> 20} MiB")

    def _add(self, line: str) -> SseFrame | None:
        if line == "":
            frame = SseFrame(self._type, "\n".join(self._data), self._id) if self._data else None
            # An id counts once its frame is complete: a frame that is cut off is sent again.
            self.last_id = self._id
            self._type, self._data, self._size = _DEFAULT_TYPE, [], 0
            return frame
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            if not (value.isascii() and value.isprintable()):  # it becomes a header
                raise UnexpectedResponse("the id of an event of the stream isn't printable ASCII")
            self._id = value
        return None
