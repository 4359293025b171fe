"""Replicate's predictions API, as https://replicate.com/docs/reference/http tells it: three ways to create a
prediction, get, cancel, the list, files and webhooks.

Calls are of the kinds "submit", "poll" (which is how a result is fetched too), "cancel", "list" and "file". Time passes
by polling: a prediction has ended after `polls_until_done` polls; with webhooks, as soon as its creation is answered.
"""

import asyncio
import io
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import httpx
from PIL import Image

from stepwell.basics.strict_json.canonical import canonical
from support.emulators.base import CALLBACK_S, Call, Emulator, Reply

TOKEN = "r8_emulated"
PAGE = 3
_CREATE = re.compile(r"/v1(?:/(models|deployments)/([\w.-]+/[\w.-]+))?/predictions")
_ONE = re.compile(r"/v1/predictions/([\w-]+)(/cancel)?")
_VERSION = re.compile(r"(?:[\w.-]+/[\w.-]+:)?([0-9a-f]{64})")
_OF_DEPLOYMENTS = "d" * 64
_SOMEBODYS = "somebody/something"
_SDXL = "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc"
_ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})


@dataclass
class Prediction:
    id: str
    input: Any
    model: str
    version: str
    created_at: datetime
    deployment: str | None = None
    webhook: str | None = None
    status: str = "starting"
    polls: int = 0
    removed: bool = False


@dataclass
class Webhook:
    """A delivery that was made, and how it was answered; 0 if it wasn't."""

    url: str
    body: Any
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class ReplicateEmulator(Emulator):
    """The switches may be turned at any time, and hold for earlier predictions too.

    `output` is what a prediction gives, its own picture if null. `held`: nothing ends. `names_urls_at`: the origin of
    the addresses that it names, its own if null. `lists_inputs`: whether a list shows inputs. `hide_from_listing`: it
    shows nothing. `filters`: whether it heeds created_after and created_before. `webhooks`: "early" ones come before
    the creation is answered.
    """

    def __init__(self, folder: Path, *, port: int = 0, token: str = TOKEN) -> None:
        super().__init__(folder, port=port)
        self.token = token
        self.polls_until_done = 1
        self.outcome: Literal["succeeded", "failed", "aborted"] = "succeeded"
        self.error_message = "The model broke"
        self.output: Any = None
        self.held = False
        self.ignore_cancel = False
        self.hide_from_listing = False
        self.lists_inputs = True
        self.filters = True
        self.page = PAGE
        self.names_urls_at: str | None = None
        self.webhooks: Literal["none", "once", "duplicate", "early"] = "none"
        self.models = {_SDXL: "stability-ai/sdxl"}  # by version; those of others are somebody's
        self.delivered: list[Webhook] = []
        self.predictions: dict[str, Prediction] = {}
        for job_id, _, made in self.ledger.jobs():
            at = datetime.fromisoformat(made["created_at"])
            self.predictions[job_id] = Prediction(
                job_id, made["body"]["input"], made["model"], made["version"], at, made["deployment"]
            )

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002 - the base's
        if method == "POST" and _CREATE.fullmatch(path):
            return "submit"
        if method == "GET" and path == "/v1/predictions":
            return "list"
        if (one := _ONE.fullmatch(path)) and method == ("POST" if one[2] else "GET"):
            return "cancel" if one[2] else "poll"
        return "file" if method == "GET" and path.startswith("/files/") else "other"

    async def answer(self, call: Call) -> Reply:
        if call.kind == "file":
            return Reply(200, picture(), {"Content-Type": "image/png"})
        if call.headers.get("authorization") != f"Bearer {self.token}":
            return self.error(401, "You did not pass a valid authentication token")
        match call.kind:
            case "submit":
                return await self._created(call)
            case "list":
                return self._listed(call.query)
            case "poll" | "cancel":
                one = _ONE.fullmatch(call.path)
                assert one is not None
                found = self.predictions.get(one[1])
                if found is None:
                    return self.error(404, "The requested resource could not be found.")
                return self._cancelled(found) if call.kind == "cancel" else self._polled(found)
            case _:
                return self.error(404, "The requested resource could not be found.")

    def error(self, status: int, message: str) -> Reply:
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return Reply(status, {"detail": f"Request was throttled ({message}). Your rate limit resets in ~1s."})
        title = "Unauthenticated" if status == HTTPStatus.UNAUTHORIZED else HTTPStatus(status).phrase
        return Reply(status, {"title": title, "detail": message, "status": status})

    def place(self, inputs: Any, *, model: str, at: datetime, version: str = "hidden", **more: Any) -> str:
        """A prediction that somebody else has made."""
        placed = Prediction(_new_id(), inputs, model, version, at, **more)
        self.predictions[placed.id] = placed
        return placed.id

    def forget(self, job_id: str) -> None:
        del self.predictions[job_id]

    def remove_data(self, job_id: str) -> None:
        """What happens to each an hour after its end."""
        self.predictions[job_id].removed = True

    async def finish(self, job_id: str) -> None:
        """End it now, and tell its webhook."""
        self._end(self.predictions[job_id], self.outcome)
        await self._deliver(self.predictions[job_id])

    async def _created(self, call: Call) -> Reply:
        body, create = call.json(), _CREATE.fullmatch(call.path)
        assert create is not None
        if not isinstance(body, dict) or not isinstance(body.get("input"), dict):
            return self.error(422, "- input is required")
        if body.keys() - {"input", "version", "webhook", "webhook_events_filter"}:
            return self.error(422, "- Additional property is not allowed")
        version = _VERSION.fullmatch(str(body.get("version"))) if create[1] is None else None
        if (create[1] is None) != (version is not None) or (create[1] and "version" in body):
            return self.error(
                422, "The specified version does not exist (or perhaps you don't have permission to use it?)"
            )
        made = Prediction(
            _new_id(),
            body["input"],
            create[2] if create[1] == "models" else self.models.get(version[1] if version else "", _SOMEBODYS),
            version[1] if version else "hidden" if create[1] == "models" else _OF_DEPLOYMENTS,
            datetime.fromtimestamp(time.time(), UTC),
            deployment=create[2] if create[1] == "deployments" else None,
            webhook=body.get("webhook"),
        )
        self._accept(made, body)
        if made.webhook is not None and self.webhooks == "early":
            await self.finish(made.id)
        elif made.webhook is not None and self.webhooks != "none" and not self.held:
            self._soon(made)
        return Reply(201, self._shown(made) | {"status": "starting", "output": None})

    def _accept(self, made: Prediction, body: Any) -> None:
        self.predictions[made.id] = made
        record = {"body": body, "model": made.model, "version": made.version, "deployment": made.deployment}
        record["created_at"] = made.created_at.isoformat()
        self.ledger.accept(made.id, canonical({"input": made.input}).decode(), record)

    def _soon(self, made: Prediction) -> None:
        async def end() -> None:
            await asyncio.sleep(0.02)  # its creation is answered first
            await self.finish(made.id)

        asyncio_task = asyncio.get_running_loop().create_task(end())
        self.open_requests.add(asyncio_task)
        asyncio_task.add_done_callback(self.open_requests.discard)

    def _polled(self, found: Prediction) -> Reply:
        found.polls += 1
        if not self.held and found.polls >= self.polls_until_done:
            self._end(found, self.outcome)
        elif found.status == "starting":
            found.status = "processing"
        return Reply(200, self._shown(found))

    def _cancelled(self, found: Prediction) -> Reply:
        if not self.ignore_cancel and found.status not in _ENDED:
            self._end(found, "canceled")
            if found.webhook is not None and self.webhooks != "none":
                self._soon(found)
        return Reply(200, self._shown(found))

    def _end(self, found: Prediction, status: str) -> None:
        if found.status not in _ENDED:
            found.status = status

    def _listed(self, query: Mapping[str, str]) -> Reply:
        listed = sorted(self.predictions.values(), key=lambda one: one.created_at, reverse=True)
        listed_now = [one for one in listed if not self.filters or _within(one.created_at, query)]
        if self.hide_from_listing:
            listed_now = []
        start = int(query.get("cursor", "0"))
        more = {**query, "cursor": str(start + self.page)}
        last = start + self.page >= len(listed_now)
        following = f"{self.names_urls_at or self.url}/v1/predictions?{urlencode(more)}"
        results = [self._shown(one) for one in listed_now[start : start + self.page]]
        if not self.lists_inputs:
            for result in results:
                del result["input"]
        return Reply(200, {"previous": None, "next": None if last else following, "results": results})

    def _shown(self, found: Prediction) -> dict[str, Any]:
        here = f"{self.names_urls_at or self.url}/v1/predictions/{found.id}"
        started = None if found.status in {"starting", "aborted"} else _stamp(found.created_at + timedelta(seconds=1))
        output = self.output if self.output is not None else [f"{self.url}/files/{found.id}/out-0.png"]
        return {
            "id": found.id,
            "model": found.model,
            "version": found.version,
            **({"deployment": found.deployment} if found.deployment else {}),
            "input": {} if found.removed else found.input,
            "logs": "",
            "output": output if found.status == "succeeded" and not found.removed else None,
            "data_removed": found.removed,
            "error": self.error_message if found.status == "failed" else None,
            "source": "api",
            "status": found.status,
            "created_at": _stamp(found.created_at),
            "started_at": started,
            "completed_at": _stamp(found.created_at + timedelta(seconds=2)) if found.status in _ENDED else None,
            "metrics": {"predict_time": 1.0} if found.status == "succeeded" else {},
            "urls": {"get": here, "cancel": f"{here}/cancel"},
        }

    async def _deliver(self, found: Prediction) -> None:
        if found.webhook is None or self.webhooks == "none":
            return
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(2 if self.webhooks == "duplicate" else 1):
                headers = {"webhook-id": f"msg_{found.id}"}
                body = self._shown(found)
                try:
                    answer = await client.post(found.webhook, json=body, headers=headers, timeout=CALLBACK_S)
                except httpx.HTTPError:
                    self.delivered.append(Webhook(found.webhook, body, 0, headers))
                else:
                    self.delivered.append(Webhook(found.webhook, body, answer.status_code, headers))


def picture() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(target, "PNG")
    return target.getvalue()


def _within(at: datetime, query: Mapping[str, str]) -> bool:
    after, before = query.get("created_after"), query.get("created_before")
    return (after is None or at >= datetime.fromisoformat(after)) and (
        before is None or at < datetime.fromisoformat(before)
    )


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _new_id() -> str:
    alphabet = "abcdefghjkmnpqrstvwxyz0123456789"
    return "".join(secrets.choice(alphabet) for _ in range(26))
