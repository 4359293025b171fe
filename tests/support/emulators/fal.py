"""fal's queue (https://fal.ai/docs/api-reference/inference-api) and its list of requests
(https://fal.ai/docs/platform-apis/v1/models/requests/by-endpoint), as its documentation has them; `url` serves both.
"""

import base64
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import httpx
from PIL import Image

from support.emulators.base import CALLBACK_S, Call, Emulator, Reply

KEY = "emulated-key-id:emulated-key-secret"
VIDEO = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + b"\x00\x00\x00\x08free"
_LOGS = {"logs": None}  # fal-client demands the member
_LISTING = "/v1/models/requests/by-endpoint"


@dataclass
class FalJob:
    id: str
    app: str  # with its path
    input: dict[str, Any]
    webhook: str | None
    sent_at: datetime
    born: float  # monotonic
    polls: int = 0
    state: Literal["waiting", "done", "cancelled"] = "waiting"
    ended_at: datetime | None = None


@dataclass(eq=False)
class FalEmulator(Emulator):
    """Switches may be set at any time. `polls_until_done`: the how manieth poll finds a request COMPLETED; the first
    finds it IN_QUEUE, those between IN_PROGRESS. `held`: nothing finishes. `outcome`: how requests end, "error" with
    `failure`, a status and a body; `error_in_status`: whether the status tells of it. `output`: what apps put out,
    instead of what they would by their name.

    `ignore_cancel`: a request to be cancelled goes on. `cancelled_is`: what a cancelled one is, afterwards. `webhook`:
    what is sent to `fal_webhook` when a request ends; "early" ends it before the submit is answered.
    `callback_statuses`: the statuses with which webhooks were answered, 0 for none.

    `listing_delay_s`: how long a request is missing from the list; `hide_from_listing`: all are; `lists_waiting`:
    whether those are listed that haven't ended; `shows_payloads`: whether what was sent is shown if it is asked for.

    `most_waiting`: the largest number of requests that had not ended at one moment.

    `names_urls`: whether a submit is answered with URLs; `url_base`: with what they begin, instead of its own address.
    """

    folder: Path
    port: int = 0
    key: str = KEY
    now: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: TID251 - fal's own clock
    polls_until_done: int = 1
    held: bool = False
    outcome: Literal["completed", "error"] = "completed"
    failure: tuple[int, dict[str, Any]] = (
        500,
        {"detail": "the runner has failed", "error_type": "runner_server_error"},
    )
    error_in_status: bool = True
    output: Any = None
    ignore_cancel: bool = False
    cancelled_is: Literal["error_type", "gone"] = "error_type"
    webhook: Literal["none", "once", "duplicate", "early"] = "none"
    listing_delay_s: float = 0.0
    hide_from_listing: bool = False
    lists_waiting: bool = True
    shows_payloads: bool = True
    names_urls: bool = True
    url_base: str | None = None
    jobs: dict[str, FalJob] = field(default_factory=dict)
    callback_statuses: list[int] = field(default_factory=list)
    most_waiting: int = 0

    def __post_init__(self) -> None:
        super().__init__(self.folder, port=self.port)

    def forget(self, request_id: str) -> None:
        """From now on there is no such request, and there never was one."""
        del self.jobs[request_id]

    async def finish(self, request_id: str) -> None:
        """End a request now, as `outcome` says, and tell its webhook."""
        job = self.jobs[request_id]
        job.state, job.ended_at = "done", self.now()
        if job.webhook is not None:
            for _ in range({"none": 0, "duplicate": 2}.get(self.webhook, 1)):
                self.callback_statuses.append(await _posted(job.webhook, self._notice(job)))

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002 - the base's
        if path == _LISTING:
            return "list"
        if path.startswith("/files/"):
            return "file"
        if method == "POST":
            return "submit"
        if path.endswith("/cancel"):
            return "cancel"
        return "poll" if path.endswith("/status") else "fetch"

    def error(self, status: int, message: str) -> Reply:
        return Reply(status, {"detail": message})

    async def answer(self, call: Call) -> Reply:
        if call.kind == "file":
            return self._file(call.path)
        if call.headers.get("authorization") != f"Key {self.key}":
            return self.error(401, f"No user found for the key in {call.headers.get('authorization')}")
        if call.kind == "submit":
            return await self._submit(call)
        if call.kind == "list":
            return self._list(call.query)
        job = self.jobs.get(call.path.partition("/requests/")[2].partition("/")[0])
        known = job is not None and call.path.startswith(f"/{'/'.join(job.app.split('/')[:2])}/requests/")
        if job is None or not known or (job.state == "cancelled" and self.cancelled_is == "gone"):
            return (
                Reply(404, {"status": "NOT_FOUND"}) if call.kind == "cancel" else self.error(404, "Request not found")
            )
        match call.kind:
            case "poll":
                return await self._poll(job)
            case "cancel":
                return self._cancel(job)
            case _:
                return self._fetch(job)

    async def _submit(self, call: Call) -> Reply:
        try:
            body = call.json()
        except json.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            return Reply(422, {"detail": [{"loc": ["body"], "msg": "Input should be an object", "type": "dict_type"}]})
        job = FalJob(
            str(uuid4()), call.path.strip("/"), body, call.query.get("fal_webhook"), self.now(), time.monotonic()
        )
        self.ledger.accept(job.id, json.dumps(body, sort_keys=True, separators=(",", ":")), body)
        self.jobs[job.id] = job
        self.most_waiting = max(self.most_waiting, sum(each.state == "waiting" for each in self.jobs.values()))
        if self.webhook == "early":
            await self.finish(job.id)
        return Reply(200, {"request_id": job.id, "status": "IN_QUEUE", "queue_position": 0} | self._urls(job))

    def _urls(self, job: FalJob) -> dict[str, str]:
        if not self.names_urls:
            return {}
        base = f"{self.url_base or self.url}/{'/'.join(job.app.split('/')[:2])}/requests/{job.id}"
        return {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}

    async def _poll(self, job: FalJob) -> Reply:
        job.polls += 1
        if job.state == "waiting" and job.polls >= self.polls_until_done and not self.held:
            await self.finish(job.id)
        if job.state == "waiting":
            about = {"status": "IN_QUEUE", "queue_position": 0} if job.polls == 1 else {"status": "IN_PROGRESS"} | _LOGS
            return Reply(202, about | {"request_id": job.id} | self._urls(job))
        status: dict[str, Any] = {"status": "COMPLETED", "request_id": job.id, "metrics": {"inference_time": 0.5}}
        status |= _LOGS | self._urls(job)
        if self._failed(job) and self.error_in_status:
            body = self._failure(job)[1]
            status |= {"error": body["detail"] if isinstance(body["detail"], str) else "Invalid status code"}
            status |= {"error_type": body["error_type"]} if "error_type" in body else {}
        return Reply(200, status)

    def _fetch(self, job: FalJob) -> Reply:
        if job.state == "waiting":
            return self.error(400, "Request is still in progress")
        if self._failed(job):
            status, body = self._failure(job)
            headers = {"X-Fal-Error-Type": body["error_type"]} if "error_type" in body else {}
            return Reply(status, body, headers)
        return Reply(200, self._result(job), {"x-fal-request-id": job.id, "x-fal-billable-units": "1"})

    def _cancel(self, job: FalJob) -> Reply:
        if job.state != "waiting":
            return Reply(400, {"status": "ALREADY_COMPLETED"})
        running = job.polls > 1
        if not self.ignore_cancel:
            job.state, job.ended_at = "cancelled", self.now()
        if running or self.ignore_cancel:
            return Reply(202, {"status": "CANCELLATION_REQUESTED"})
        return Reply(200, {"status": "OK"})

    def _list(self, query: Mapping[str, str]) -> Reply:
        start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
        size, page = int(query.get("limit", "50")), int(base64.b64decode(query.get("cursor", "MQ==")))
        listed = [
            job
            for job in reversed(self.jobs.values())
            if job.app == query["endpoint_id"]
            and start <= job.sent_at < end
            and not self.hide_from_listing
            and (self.lists_waiting or job.state != "waiting")
            and time.monotonic() - job.born >= self.listing_delay_s
        ]
        more = len(listed) > size * page
        return Reply(
            200,
            {
                "items": [self._item(job, query.get("expand")) for job in listed[size * (page - 1) : size * page]],
                "next_cursor": base64.b64encode(str(page + 1).encode()).decode() if more else None,
                "has_more": more,
            },
        )

    def _item(self, job: FalJob, expand: str | None) -> dict[str, Any]:
        item: dict[str, Any] = {"request_id": job.id, "endpoint_id": job.app, "sent_at": _iso(job.sent_at)}
        if job.ended_at is not None:
            item |= {"ended_at": _iso(job.ended_at), "status_code": self._failure(job)[0] if self._failed(job) else 200}
        return item | ({"json_input": job.input} if expand == "payloads" and self.shows_payloads else {})

    def _failed(self, job: FalJob) -> bool:
        return job.state == "cancelled" or self.outcome == "error"

    def _failure(self, job: FalJob) -> tuple[int, dict[str, Any]]:
        if job.state == "cancelled":
            return 499, {"detail": "The request was cancelled by the client", "error_type": "client_cancelled"}
        return self.failure

    def _result(self, job: FalJob) -> Any:
        if self.output is not None:
            return self.output
        if "router" in job.app:
            return {"output": f"you said: {job.input.get('prompt')}", "usage": {"completion_tokens": 3}}
        if "video" in job.app:
            return {"video": {"url": f"{self.url}/files/{job.id}/0.mp4", "content_type": "video/mp4"}, "seed": 7}
        images = [self._image(job, place) for place in range(job.input.get("num_images", 1))]
        if any(name in job.app for name in ("clarity", "codeformer", "birefnet")):
            return {"image": images[0]}
        return {"images": images, "seed": job.input.get("seed", 7), "has_nsfw_concepts": [False]}

    def _image(self, job: FalJob, place: int) -> dict[str, Any]:
        width, height = _size(job)
        url = f"{self.url}/files/{job.id}/{place}.png"
        return {"url": url, "width": width, "height": height, "content_type": "image/png", "file_name": f"{place}.png"}

    def _file(self, path: str) -> Reply:
        job = self.jobs.get(path.split("/")[2])
        if job is None:
            return Reply(404, b"not found", {"Content-Type": "text/plain"})
        if path.endswith(".mp4"):
            return Reply(200, VIDEO, {"Content-Type": "video/mp4"})
        target = io.BytesIO()
        Image.new("RGB", _size(job), (200, 30, 30)).save(target, "PNG")
        return Reply(200, target.getvalue(), {"Content-Type": "image/png"})

    def _notice(self, job: FalJob) -> dict[str, Any]:
        notice: dict[str, Any] = {"request_id": job.id, "gateway_request_id": job.id}
        if self._failed(job):
            status, body = self._failure(job)
            return notice | {"status": "ERROR", "error": f"Invalid status code: {status}", "payload": body}
        return notice | {"status": "OK", "payload": self._result(job)}


async def _posted(url: str, notice: dict[str, Any]) -> int:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=CALLBACK_S) as client:
            return (await client.post(url, json=notice)).status_code
    except httpx.HTTPError:
        return 0


def _size(job: FalJob) -> tuple[int, int]:
    size = job.input.get("image_size")
    return (size["width"], size["height"]) if isinstance(size, dict) else (64, 48)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
