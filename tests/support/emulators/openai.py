"""OpenAI's API as https://developers.openai.com/api/reference tells it: chat completions, pictures made and edited, and
films, which servers that speak its API still make.

Calls are of the kinds "submit" (whatever costs), "poll", "cancel", "list" and "file". Chat and pictures are answered
with the work itself. Films take their time by polling: one has ended after `polls_until_done` polls.
"""

import asyncio
import base64
import io
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from support.emulators.base import Call, Emulator, Reply
from support.emulators.fal import VIDEO

KEY = "sk-emulated-0123456789"
PAGE = 100
_WORK = re.compile(r"(?:/[\w-]+)*/v1/(chat/completions|images/generations|images/edits|videos)")
_ONE = re.compile(r"(?:/[\w-]+)*/v1/videos/([\w-]+)(/content)?")
_BOUNDARY = re.compile(r'multipart/form-data; boundary="?([^"]+)"?')
_DISPOSITION = re.compile(r'content-disposition: form-data; name="([^"]*)"(?:; filename="([^"]*)")?', re.IGNORECASE)
_TYPE = re.compile(r"content-type: (\S+)", re.IGNORECASE)
_ENDED = frozenset({"completed", "failed"})
_OF_PICTURES = frozenset(
    {
        *("model", "prompt", "size", "quality", "background", "complexity", "moderation", "output_format"),
        *("output_compression", "safety_identifier", "user"),
    }
)
_OF_EDITS = _OF_PICTURES | {"input_fidelity"}
_OF_VIDEOS = frozenset({"model", "prompt", "seconds", "size"})
_FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "gif": "GIF"}


@dataclass
class Part:
    name: str
    data: bytes
    filename: str | None = None
    media_type: str = ""


@dataclass
class Video:
    id: str
    prompt: str
    model: str
    seconds: str
    size: str
    created_at: float
    status: str = "queued"
    polls: int = 0


class OpenAiEmulator(Emulator):
    """The switches may be turned at any time, and hold for earlier films too.

    `strict`: it takes what OpenAI takes, and nothing else; servers that speak its API mostly don't look. `key`: null
    where none is needed. `held`: films don't end, and other answers are held back until it is turned off, until
    `finish`, or until `let_go`. `hide_from_listing`: a list shows nothing; `lists_prompts`: it shows prompts.
    `ignore_cancel`: films that are being made can't be deleted.

    What comes out: `text`, `finish_reason` and `refusal` of a chat (without a text, one that quotes what was asked; a
    function makes it of what was asked);
    `answers_by` for pictures, and `picture` instead of one that was drawn.
    """

    def __init__(self, folder: Path, *, port: int = 0, key: str | None = KEY) -> None:
        super().__init__(folder, port=port)
        self.key = key
        self.strict = True
        self.held = False
        self.polls_until_done = 1
        self.outcome: Literal["completed", "failed"] = "completed"
        self.failure: Any = {"code": "generation_failed", "message": "The model broke"}
        self.hide_from_listing = False
        self.lists_prompts = True
        self.ignore_cancel = False
        self.page = PAGE
        self.now: Callable[[], float] = time.time  # what the times of films come from
        self.text: Any = None
        self.finish_reason: str | None = "stop"
        self.refusal: str | None = None
        self.answers_by: Literal["b64_json", "url", "data_uri"] = "b64_json"
        self.picture: bytes | None = None
        self.videos: dict[str, Video] = {}
        self.files: dict[str, bytes] = {}
        self._released: set[str] = set()
        for job_id, _, made in self.ledger.jobs():
            if job_id.startswith("video_"):
                self.videos[job_id] = Video(job_id, **made)

    @property
    def base(self) -> str:
        """What is set as the API's URL."""
        return f"{self.url}/v1"

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002 - the base's
        if (work := _WORK.fullmatch(path)) and method in {"POST", "GET"}:
            return "submit" if method == "POST" else "list" if work[1] == "videos" else "other"
        if one := _ONE.fullmatch(path):
            return {"GET": "file" if one[2] else "poll", "DELETE": "cancel"}.get(method, "other")
        return "file" if method == "GET" and path.startswith("/files/") else "other"

    def error(
        self, status: int, message: str, *, kind: str | None = None, code: str | None = None, param: str | None = None
    ) -> Reply:
        usual = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}.get(status, "invalid_request_error")
        return Reply(status, {"error": {"message": message, "type": kind or usual, "param": param, "code": code}})

    async def answer(self, call: Call) -> Reply:
        if call.path.startswith("/files/"):
            return Reply(200, self.files[call.path], {"Content-Type": "image/png"})
        if self.key is not None and call.headers.get("authorization") != f"Bearer {self.key}":
            message = "Incorrect API key provided: sk-wr***ng. You can find your API key at the usual place."
            return self.error(401, message, code="invalid_api_key")
        if call.kind == "submit":
            return await self._submitted(call)
        if call.kind == "list":
            return self._listed(call.query)
        one = _ONE.fullmatch(call.path)
        found = self.videos.get(one[1]) if one else None
        if found is None:
            return self.error(404, "Video not found", code="not_found")
        match call.kind:
            case "poll":
                return self._polled(found)
            case "cancel":
                return self.deleted(found)
            case _:
                return Reply(200, VIDEO, {"Content-Type": "video/mp4"})

    async def finish(self, job_id: str) -> None:
        """End it now; where it is an answer that is held back, it is sent."""
        if job_id in self.videos:
            self._end(self.videos[job_id])
        self._released.add(job_id)

    def place(self, prompt: str, *, at: float, **more: Any) -> str:
        """A film that somebody else has had made; *at* in seconds since 1970."""
        about = {"model": "sora-2", "seconds": "4", "size": "720x1280"} | more
        placed = Video(f"video_{secrets.token_hex(8)}", prompt, created_at=at, **about)
        self.videos[placed.id] = placed
        return placed.id

    def forget(self, job_id: str) -> None:
        del self.videos[job_id]

    async def _submitted(self, call: Call) -> Reply:
        work = _WORK.fullmatch(call.path)
        assert work is not None
        if work[1] in {"images/edits", "videos"}:
            parts = multipart(call)
            if parts is None:
                return self.error(400, "Invalid body: expected multipart/form-data")
            return self._film(parts) if work[1] == "videos" else await self._edited(parts)
        body = call.json()
        return await (self._chat(body) if work[1] == "chat/completions" else self._generated(body))

    async def _chat(self, body: dict[str, Any]) -> Reply:
        messages = body.get("messages")
        if not messages or not isinstance(messages, list):
            return self.error(400, "Missing required parameter: 'messages'.", param="messages")
        if self.strict and (wrong := _unsupported(body)) is not None:
            return self.error(400, wrong[1], param=wrong[0], code="unsupported_parameter")
        asked = _prompt_of(messages)
        job_id = await self._done("chatcmpl", asked, body)
        wants_json = isinstance(body.get("response_format"), dict)
        given = self.text(asked) if callable(self.text) else self.text
        text = given if given is not None else _json_for(body) if wants_json else f"You said: {asked}"
        limit, reason = body.get("max_completion_tokens", body.get("max_tokens")), self.finish_reason
        if limit is not None and isinstance(text, str) and len(text.split()) > limit:
            text, reason = " ".join(text.split()[:limit]), "length"
        message = {"role": "assistant", "content": None if self.refusal else text, "refusal": self.refusal}
        usage = {"prompt_tokens": len(asked), "completion_tokens": 7, "total_tokens": len(asked) + 7}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        head = {"id": job_id, "object": "chat.completion", "created": int(time.time())}
        return Reply(200, head | {"model": f"{body['model']}-2026", "choices": [choice], "usage": usage})

    async def _generated(self, body: dict[str, Any]) -> Reply:
        if (wrong := self._wrong(body, _OF_PICTURES)) is not None:
            return wrong
        await self._done("img", body["prompt"], body)
        return self._drawn(body, _sides(body.get("size")) or (64, 64))

    async def _edited(self, parts: list[Part]) -> Reply:
        body = {part.name: part.data.decode() for part in parts if part.filename is None}
        files = [part for part in parts if part.filename is not None]
        images = [part for part in files if part.name in {"image", "image[]"}]
        masks = [part for part in files if part.name == "mask"]
        if not images or len(images) + len(masks) < len(files) or (len(images) > 1) != (images[0].name == "image[]"):
            return self.error(400, "Invalid image", param="image")
        if any(_kind(part) != part.media_type for part in images):
            return self.error(400, "Invalid file 'image': unsupported mimetype", code="unsupported_file_mimetype")
        size = _opened(images[0]).size
        if any(_kind(part) != "image/png" or _opened(part).mode != "RGBA" for part in masks):
            return self.error(400, "Invalid mask: it has no alpha channel", param="mask", code="invalid_mask_image")
        if any(_opened(part).size != size for part in masks):
            return self.error(400, "Invalid mask: its size is another", param="mask", code="invalid_mask_image")
        if (wrong := self._wrong(body, _OF_EDITS)) is not None:
            return wrong
        await self._done("img", body["prompt"], body | {"files": [part.name for part in files]})
        return self._drawn(body, _sides(body.get("size")) or size)

    def _film(self, parts: list[Part]) -> Reply:
        body = {part.name: part.data.decode() for part in parts if part.filename is None}
        files = [part.name for part in parts if part.filename is not None]
        if files not in ([], ["input_reference"]):
            return self.error(400, "Unknown file", param=files[0])
        if (wrong := self._wrong(body, _OF_VIDEOS)) is not None:
            return wrong
        about: dict[str, Any] = {
            "prompt": body["prompt"],
            "model": body.get("model", "sora-2"),
            "seconds": body.get("seconds", "4"),
        }
        about["size"] = body.get("size", "720x1280")
        made = Video(f"video_{secrets.token_hex(8)}", **about, created_at=int(self.now()))
        self.videos[made.id] = made
        self.ledger.accept(made.id, made.prompt, about | {"created_at": made.created_at})
        return Reply(200, self._shown(made))

    async def _done(self, prefix: str, asked: str, body: Any) -> str:
        """The id of work that is accepted now, once it may be answered."""
        job_id, gate = f"{prefix}-{secrets.token_hex(8)}", self._gate
        self.ledger.accept(job_id, asked, body)
        while self.held and not gate.is_set() and job_id not in self._released:
            await asyncio.sleep(0.01)  # it may be let go from another thread
        return job_id

    def _wrong(self, body: Mapping[str, Any], known: frozenset[str]) -> Reply | None:
        if not body.get("prompt"):
            return self.error(400, "Missing required parameter: 'prompt'.", param="prompt")
        if not self.strict:
            return None
        if (name := next((name for name in body if name not in known), None)) is not None:
            return self.error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        sides = _sides(body.get("size"))
        if str(body.get("model")).startswith("gpt-image-2") and sides and not _fits(*sides):
            return self.error(400, f"Invalid size '{body['size']}'.", param="size", code="invalid_value")
        return None

    def _drawn(self, body: Mapping[str, Any], size: tuple[int, int]) -> Reply:
        kind = body.get("output_format", "png")
        data = self.picture if self.picture is not None else drawn(size, kind, clear=body.get("background"))
        packed = base64.b64encode(data).decode()
        path = f"/files/{secrets.token_hex(4)}.png"
        self.files[path] = data
        item = {
            "b64_json": {"b64_json": packed},
            "url": {"url": self.url + path, "revised_prompt": "better"},
            "data_uri": {"url": f"data:image/png;base64,{packed}"},
        }[self.answers_by]
        usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
        return Reply(200, {"created": int(time.time()), "data": [item], "usage": usage})

    def _polled(self, found: Video) -> Reply:
        found.polls += 1
        if not self.held and found.polls >= self.polls_until_done:
            self._end(found)
        elif found.status == "queued":
            found.status = "in_progress"
        return Reply(200, self._shown(found))

    def _end(self, found: Video) -> None:
        if found.status not in _ENDED:
            found.status = self.outcome

    def deleted(self, found: Video) -> Reply:
        if self.ignore_cancel and found.status not in _ENDED:
            return self.error(400, "Only a completed or failed video can be deleted")
        del self.videos[found.id]
        return Reply(200, {"id": found.id, "object": "video.deleted", "deleted": True})

    def _listed(self, query: Mapping[str, str]) -> Reply:
        listed = sorted(self.videos.values(), key=lambda one: one.created_at, reverse=query.get("order") != "asc")
        ids = [one.id for one in listed]
        start = ids.index(query["after"]) + 1 if "after" in query else 0
        size = min(self.page, int(query.get("limit", "20")))
        page = [] if self.hide_from_listing else listed[start : start + size]
        entries = [self._shown(one) for one in page]
        if not self.lists_prompts:
            for one in entries:
                del one["prompt"]
        more = bool(page) and start + size < len(listed)
        edges = {"first_id": page[0].id, "last_id": page[-1].id} if page else {}
        return Reply(200, {"object": "list", "data": entries, "has_more": more, **edges})

    def _shown(self, found: Video) -> dict[str, Any]:
        progress = 100 if found.status == "completed" else min(99, found.polls * 25)
        return {
            "id": found.id,
            "object": "video",
            "model": found.model,
            "status": found.status,
            "progress": progress,
            "prompt": found.prompt,
            "created_at": found.created_at,
            "completed_at": found.created_at + 1 if found.status in _ENDED else None,
            "seconds": found.seconds,
            "size": found.size,
            "error": self.failure if found.status == "failed" else None,
        }


def multipart(call: Call) -> list[Part] | None:
    """The parts of a form; null if it isn't one, or is broken."""
    found = _BOUNDARY.fullmatch(call.headers.get("content-type", ""))
    if found is None:
        return None
    line = b"--" + found[1].encode()
    head, *pieces, tail = (b"\r\n" + call.body).split(b"\r\n" + line)
    if head or tail.strip(b"\r\n") != b"--":
        return None
    parts = []
    for piece in pieces:
        headers, _, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        disposition, kind = _DISPOSITION.search(headers.decode()), _TYPE.search(headers.decode())
        if disposition is None:
            return None
        parts.append(Part(disposition[1], data, disposition[2], kind[1] if kind else ""))
    return parts


def drawn(size: tuple[int, int], kind: str = "png", *, clear: str | None = None) -> bytes:
    """A picture in red; without anything in it where *clear* is "transparent"."""
    target = io.BytesIO()
    image = Image.new("RGBA", size, (0, 0, 0, 0)) if clear == "transparent" else Image.new("RGB", size, (200, 30, 30))
    image.save(target, _FORMATS[kind], **({"compress_level": 1} if kind == "png" else {}))
    return target.getvalue()


_VALUES = {"number": 0.8, "integer": 1, "boolean": True}


def _json_for(body: dict[str, Any]) -> str:
    """Return an object that fits the schema of the request, if it has one of an object."""
    schema = body["response_format"].get("json_schema", {}).get("schema", {})
    properties = schema.get("properties") or {"answer": {}}
    return json.dumps({name: _VALUES.get(each.get("type"), "yes") for name, each in properties.items()})


def _prompt_of(messages: list[Any]) -> str:
    """The last text of the user."""
    content = next((message["content"] for message in reversed(messages) if message.get("role") == "user"), "")
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("type") == "text")


def _unsupported(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """A member that can't be, and why."""
    reasons = re.match(r"gpt-[56]|o\d", str(body.get("model"))) is not None
    if reasons and "max_tokens" in body:
        use = "Use 'max_completion_tokens' instead."
        return "max_tokens", f"Unsupported parameter: 'max_tokens' is not supported with this model. {use}"
    if reasons and "temperature" in body and body.get("reasoning_effort") != "none":
        return "temperature", "Unsupported parameter: 'temperature' is not supported with this model."
    schema = (body.get("response_format") or {}).get("json_schema") or {}
    wants = schema.get("strict") and schema["schema"].get("type") == "object"
    if wants and schema["schema"].get("additionalProperties") is not False:
        why = "'additionalProperties' is required to be supplied and to be false."
        return "response_format", f"Invalid schema for response_format '{schema['name']}': {why}"
    return None


def _sides(size: Any) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d+)x(\d+)", str(size))
    return (int(match[1]), int(match[2])) if match else None


def _fits(width: int, height: int) -> bool:
    long, short = max(width, height), min(width, height)
    pixels = 655_360 <= width * height <= 8_294_400
    return width % 16 == height % 16 == 0 and long <= 3840 and long <= 3 * short and pixels


def _opened(part: Part) -> Image.Image:
    return Image.open(io.BytesIO(part.data))


def _kind(part: Part) -> str:
    return f"image/{(_opened(part).format or '').lower()}"
