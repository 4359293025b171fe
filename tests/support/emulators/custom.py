"""A worker that speaks the protocol of CUSTOM, well or badly: kinds of call "submit", "poll" (and fetch), "cancel",
"list" and "file". Written from the protocol's text, not from our code: it signs and checks for itself.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import httpx

from support.emulators.base import CALLBACK_S, Call, Emulator, Reply

Signing = Literal["right", "missing", "wrong", "old", "future", "no time", "replayed", "of another status"]
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SHA256 = hashlib.sha256(PICTURE).hexdigest()
_ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class CustomJob:
    """*key* is the attempt's id. `polls` counts how often its status was asked for."""

    id: str
    key: str
    body: dict[str, Any]
    polls: int = 0
    status: str = "queued"

    @property
    def is_ended(self) -> bool:
        return self.status in _ENDED


class CustomEmulator(Emulator):
    """The switches may be turned at any time; they hold for jobs that were taken before as well.

    `idempotent`: false makes every POST a job. `sync`: the answer to a POST is the work done, with an id if
    `sync_names_id`. `inline`: the file is in the answer. `file`: what its entry says instead. `extra`: members put into
    answers to a POST. `held`: nothing ends. `callbacks`: a job ends by itself, and then it calls back. `words`: what
    every error says.
    """

    def __init__(self, folder: Path, *, port: int = 0, secret: str | None = None) -> None:
        super().__init__(folder, port=port)
        self.secret = secret
        self.signing: Signing = "right"
        self.idempotent, self.sync, self.sync_names_id, self.inline = True, False, False, False
        self.held = self.ignore_cancel = self.refuse_cancel = self.hide_from_listing = self.list_all = False
        self.polls_until_done = 1
        self.outcome: Literal["succeeded", "failed"] = "succeeded"
        self.callbacks: Literal["none", "once", "duplicate", "early"] = "none"
        self.cost: dict[str, Any] | None = None
        self.retryable: bool | None = None
        self.words: str | None = None
        self.file: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}
        self.answered_callbacks: list[int] = []  # the statuses of answers
        self._forgotten: set[str] = set()
        self._earlier: Reply | None = None
        self._jobs = {job_id: CustomJob(job_id, key, body) for job_id, key, body in self.ledger.jobs()}

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002
        match (method, path.strip("/").split("/")):
            case ("POST", ["jobs"]):
                return "submit"
            case ("GET", ["jobs"]):
                return "list"
            case ("GET", ["jobs", _]):
                return "poll"
            case ("POST", ["jobs", _, "cancel"]):
                return "cancel"
            case ("GET", ["files", _]):
                return "file"
            case _:
                return "other"

    async def answer(self, call: Call) -> Reply:
        if call.kind == "file":
            return Reply(200, PICTURE, {"Content-Type": "image/png"})
        if self.secret is not None and not self._is_signed(call):
            return self.error(401, f"the signature isn't one made with {self.secret}")
        return self.signed(call, await self._answered(call))

    def error(self, status: int, message: str) -> Reply:
        body = {"error": self.words or message} | ({} if self.retryable is None else {"retryable": self.retryable})
        return self.signed(self.calls[-1], Reply(status, body))

    def forget(self, job_id: str) -> None:
        """From now on it is unknown; the ledger still has it."""
        self._forgotten.add(job_id)

    def jobs_with(self, name: str, value: object) -> list[CustomJob]:
        """Return the accepted jobs whose input *name* is *value*."""
        return [job for job in [*self._jobs.values()] if job.body["inputs"].get(name) == value]

    def is_done(self, job: CustomJob) -> bool:
        return not self.held and job.polls >= self.polls_until_done

    def outcome_of(self, job: CustomJob) -> Literal["succeeded", "failed"]:  # noqa: ARG002 - a subclass's
        """How a job ends that isn't cancelled."""
        return self.outcome

    async def finish(self, job_id: str, times: int = 1) -> None:
        """The job ends, if it hasn't, and calls back."""
        job = self._jobs[job_id]
        job.status = job.status if job.is_ended else self.outcome_of(job)
        for _ in range(times):
            await self._call_back(job)

    async def _answered(self, call: Call) -> Reply:
        if call.kind == "submit":
            return await self._submitted(call)
        if call.kind == "list":
            wanted = [job for job in self._jobs.values() if self.list_all or job.key == call.query["attempt_id"]]
            known = [] if self.hide_from_listing else [job for job in wanted if job.id not in self._forgotten]
            return Reply(200, {"jobs": [{"id": job.id, "attempt_id": job.key} for job in known]})
        job = self._jobs.get(call.path.strip("/").split("/")[1])
        if job is None or job.id in self._forgotten:
            return self.error(404, "there is no such job")
        if call.kind == "cancel":
            return self._cancelled(job)
        job.polls += 1
        if not job.is_ended:
            job.status = self.outcome_of(job) if self.is_done(job) else "running"
        return Reply(200, self._view(job))

    async def _submitted(self, call: Call) -> Reply:
        body, key = call.json(), call.headers["idempotency-key"]
        if body["attempt_id"] != key:
            return self.error(400, "Idempotency-Key must be the attempt_id")
        job = next((job for job in self._jobs.values() if job.key == key), None) if self.idempotent else None
        if job is None:
            if self.sync and self.outcome == "failed":
                return self.error(500, "the work failed")
            job = CustomJob(uuid4().hex, key, body)
            self.ledger.accept(job.id, key, body)
            self._jobs[job.id] = job
            await self._announce(job)
        if self.sync:
            job.status = "succeeded"
            return Reply(200, ({"id": job.id} if self.sync_names_id else {}) | self._done(job) | self.extra)
        return Reply(202, {"id": job.id} | self.extra)

    async def _announce(self, job: CustomJob) -> None:
        if self.callbacks == "none" or self.held or "callback_url" not in job.body:
            return
        if self.callbacks == "early":
            await self.finish(job.id)
            return
        ending = asyncio.get_running_loop().create_task(self.finish(job.id, 2 if self.callbacks == "duplicate" else 1))
        self.open_requests.add(ending)
        ending.add_done_callback(self.open_requests.discard)

    async def _call_back(self, job: CustomJob) -> None:
        body = json.dumps({"id": job.id, "attempt_id": job.key, "status": job.status}).encode()
        headers = {"Content-Type": "application/json", **self._headers((job.key,), body)}
        with suppress(httpx.HTTPError):  # nobody listens: it was a hint
            async with httpx.AsyncClient(trust_env=False, timeout=CALLBACK_S) as client:
                answer = await client.post(job.body["callback_url"], content=body, headers=headers)
            self.answered_callbacks.append(answer.status_code)

    def _cancelled(self, job: CustomJob) -> Reply:
        if self.refuse_cancel:
            return self.error(409, "it can't be stopped")
        if not job.is_ended and not self.ignore_cancel:
            job.status = "cancelled"
        return Reply(200, {"status": job.status})

    def _view(self, job: CustomJob) -> dict[str, Any]:
        view = {"id": job.id, "status": job.status}
        if job.status == "succeeded":
            return view | self._done(job)
        if job.status == "failed":
            return (
                view
                | {"error": self.words or "the work failed"}
                | ({} if self.retryable is None else {"retryable": self.retryable})
            )
        return view

    def _done(self, job: CustomJob) -> dict[str, Any]:
        cost = {} if self.cost is None else {"cost": self.cost}
        if job.body["task_type"] == "LLM_INTERACTION":
            return {"result": self.answer_to(job)} | cost
        video = job.body["task_type"] == "VIDEO_GENERATION"
        inline = self.inline or video
        where = {"data": base64.b64encode(PICTURE).decode()} if inline else {"url": f"{self.url}/files/{job.id}"}
        field, media_type = ("result_video_path", "video/mp4") if video else ("result_image_path", "image/png")
        entry = {"field": field, "media_type": media_type, "sha256": SHA256, "size": len(PICTURE)}
        done = {"result": {"seed": job.body["seed"]}, "files": [entry | where | self.file]}
        return done | cost

    def answer_to(self, job: CustomJob) -> dict[str, Any]:
        """The result of a job of LLM_INTERACTION."""
        return {"result_text": f"an answer to {job.body['inputs'].get('prompt')}"}

    def _is_signed(self, call: Call) -> bool:
        target = call.path + (
            "?" + "&".join(f"{name}={value}" for name, value in call.query.items()) if call.query else ""
        )
        stamp = call.headers.get("stepwell-timestamp", "0")
        expected = self._mac(stamp, (call.method, target), call.body)
        return call.headers.get("stepwell-signature") == expected and abs(time.time() - int(stamp)) <= 300

    def signed(self, call: Call, reply: Reply) -> Reply:
        if self.secret is None:
            return reply
        if self.signing == "replayed" and self._earlier is not None:
            return self._earlier
        request = call.headers.get("stepwell-signature", "").removeprefix("v1=")
        status = 418 if self.signing == "of another status" else reply.status
        reply.headers |= self._headers((str(status), request), reply.encoded())
        self._earlier = Reply(reply.status, reply.body, dict(reply.headers))
        return reply

    def _headers(self, parts: tuple[str, ...], body: bytes) -> dict[str, str]:
        if self.secret is None or self.signing == "missing":
            return {}
        shift = {"old": -301, "future": 301}.get(self.signing, 0)
        stamp = "soon" if self.signing == "no time" else str(int(time.time()) + shift)
        mac = self._mac(stamp, parts, body + (b" " if self.signing == "wrong" else b""))
        return {"Stepwell-Timestamp": stamp, "Stepwell-Signature": mac}

    def _mac(self, stamp: str, parts: tuple[str, ...], body: bytes) -> str:
        assert self.secret is not None
        message = ".".join([stamp, *parts]).encode() + b"." + body
        return "v1=" + hmac.new(self.secret.encode(), message, hashlib.sha256).hexdigest()
