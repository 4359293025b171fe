"""The frames of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from collections.abc import Iterator

from msgspec import Struct

_DEFAULT_TYPE = "message"


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
        self._rest = b""
        self._type, self._data = _DEFAULT_TYPE, list[str]()

    def feed(self, chunk: bytes) -> Iterator[SseFrame]:
        """Yield the frames with data that *chunk* completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            frame = self._add(line.rstrip(b"\r").decode(errors="replace"))
            if frame is not None:
                yield frame

    def _add(self, line: str) -> SseFrame | None:
        if line == "":
            frame = SseFrame(self._type, "\n".join(self._data), self._id) if self._data else None
            # An id counts once its frame is complete: a frame that is cut off is sent again.
            self.last_id = self._id
            self._type, self._data = _DEFAULT_TYPE, []
            return frame
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        return None
