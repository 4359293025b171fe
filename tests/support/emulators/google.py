"""Google's two APIs for its models: the Gemini Developer API, and Vertex AI with the token endpoint of its service
accounts and Cloud Storage.

As https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/video,
https://ai.google.dev/gemini-api/docs/interactions and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation tell them. Calls are of
the kinds "submit", "poll", "cancel", "file" and "token". Time passes by polling.
"""

import asyncio
import base64
import io
import json
import re
import secrets
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from PIL import Image

from support.emulators.base import Call, Emulator, Reply

KEY = "AIza-emulated-key-of-the-gemini-api"
PROJECT = "emulated-project"
ACCOUNT = "stepwell@emulated-project.iam.gserviceaccount.com"
VIDEO = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + b"film" * 64
_AUDIENCE = "https://oauth2.googleapis.com/token"  # google-auth says so wherever it asks
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_VERBS = {"gemini": "generateContent", "imagen": "predict", "veo": "predictLongRunning"}
_LONGER = 64  # pixels of a picture's longer side


class Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        self.reply = reply


@dataclass
class Job:
    """An operation or an interaction."""

    id: str
    body: Any
    polls: int = 0
    ended: str = ""  # done, cancelled


class GoogleEmulator(Emulator):
    """The switches may be turned at any time, and hold for earlier jobs too.

    `held`: nothing ends; what is answered with its result isn't answered. `answered`: the body that calls answered
    with the result give, their own if null. `response` and `failure`: what an operation or an interaction ends with,
    its own film if both are null. `hide_from_listing` changes nothing: there is no list that shows anything.
    """

    models: tuple[str, ...] = (
        "gemini-3.8-flash",
        "gemini-nano-banana-2.1",
        "imagen-4.0-generate-001",
        "veo-3.1-generate-001",
    )

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder, port=port)
        self.polls_until_done = 1
        self.held = False
        self.hide_from_listing = False
        self.answered: Any = None
        self.response: Any = None
        self.failure: Any = None
        self.jobs: dict[str, Job] = {}
        self._released: set[str] = set()
        for job_id, _, record in self.ledger.jobs():
            if record["job"]:
                self.jobs[job_id] = Job(job_id, record["body"])

    @abstractmethod
    def check(self, call: Call) -> None:
        """Raise `Refused` unless the call has a credential that holds."""

    @abstractmethod
    def film(self, job: Job) -> Any:
        """What an operation gives."""

    def error(self, status: int, message: str, *details: Any) -> Reply:
        about: dict[str, Any] = {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}
        return Reply(status, {"error": about | ({"details": list(details)} if details else {})})

    def refused(self, status: int, message: str, *details: Any) -> Refused:
        return Refused(self.error(status, message, *details))

    async def finish(self, job_id: str) -> None:
        """It ends now, whether it is held or not."""
        self._released.add(job_id)
        if job_id in self.jobs and not self.jobs[job_id].ended:
            self.jobs[job_id].ended = "done"

    async def started(self, model: str, verb: str, call: Call, place: str) -> Reply:
        """A POST of {model}:{verb}, *place* being what a name of an operation starts with."""
        family = model.partition("-")[0]
        if model not in self.models or verb != _VERBS.get(family):
            raise self.refused(404, f"models/{model} is not found, or is not supported for {verb}.")
        body = call.json()
        match family:
            case "veo":
                return self._began(f"{place}/operations/{secrets.token_hex(8)}", self._asked_film(body), body, "name")
            case "imagen":
                prompt, picture = self._asked_prediction(body)
                predictions = [{"mimeType": "image/png", "bytesBase64Encoded": _text(picture)}]
                return await self._answered(prompt, body, {"predictions": predictions})
            case _:
                return await self._generated(model, body)

    def polled(self, job: Job) -> None:
        job.polls += 1
        if not job.ended and (job.id in self._released or (not self.held and job.polls >= self.polls_until_done)):
            job.ended = "done"

    def operation(self, name: str) -> Reply:
        job = self.jobs.get(name)
        if job is None:
            raise self.refused(404, "Requested entity was not found.")
        self.polled(job)
        if not job.ended:
            return Reply(200, {"name": name, "metadata": {"@type": "type.googleapis.com/emulated"}})
        if self.failure is not None:
            return Reply(200, {"name": name, "done": True, "error": self.failure})
        response = self.response if self.response is not None else self.film(job)
        return Reply(200, {"name": name, "done": True, "response": response})

    def _began(self, job_id: str, key: str, body: Any, member: str, **more: Any) -> Reply:
        self.jobs[job_id] = Job(job_id, body)
        self.ledger.accept(job_id, key, {"body": body, "job": True})
        return Reply(200, {member: job_id, **more})

    async def _answered(self, key: str, body: Any, answer: Any) -> Reply:
        job_id = secrets.token_hex(8)
        self.ledger.accept(job_id, key, {"body": body, "job": False})
        while self.held and job_id not in self._released:
            await asyncio.sleep(0.01)
        return Reply(200, answer if self.answered is None else self.answered)

    async def _generated(self, model: str, body: Any) -> Reply:
        parts = [part for content in body["contents"] for part in content["parts"]]
        prompt = next((part["text"] for part in body["contents"][-1]["parts"] if "text" in part), "")
        pictures = [self._picture(part["inlineData"], "data") for part in parts if "inlineData" in part]
        config = body.get("generationConfig", {})
        if "IMAGE" in config.get("responseModalities", []):
            ratio = config.get("imageConfig", {}).get("aspectRatio")
            sides = _sides(ratio) if ratio else pictures[0].size if pictures else (_LONGER, _LONGER)
            out: Any = {"inlineData": {"mimeType": "image/png", "data": _text(picture(*sides))}}
        elif config.get("responseMimeType") == "application/json":
            out = {"text": json.dumps({"asked": prompt, "pictures": len(pictures)})}
        else:
            out = {"text": f"{prompt} ({len(pictures)} pictures)"}
        thought = {"text": "let me think", "thought": True}
        candidate = {"content": {"role": "model", "parts": [thought, out]}, "finishReason": "STOP", "index": 0}
        usage = {"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 14}
        answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}
        return await self._answered(prompt, body, answer)

    def _asked_film(self, body: Any) -> str:
        (instance,) = body["instances"]
        if "image" in instance:
            self._picture(instance["image"], "bytesBase64Encoded")
        if body["parameters"].get("durationSeconds") not in (4, 6, 8):
            raise self.refused(400, "Unsupported output video duration.")
        return str(instance.get("prompt", ""))

    def _asked_prediction(self, body: Any) -> tuple[str, bytes]:
        (instance,) = body["instances"]
        return instance["prompt"], picture(*_sides(body["parameters"].get("aspectRatio", "1:1")))

    def _picture(self, about: Any, member: str) -> Image.Image:
        kind = about.get("mimeType") or about.get("mime_type")  # protobuf's JSON takes both; google-genai sends both
        if kind not in {"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"}:
            raise self.refused(400, f"Unsupported MIME type: {kind}")
        try:
            return Image.open(io.BytesIO(base64.b64decode(about[member], validate=True)))
        except (ValueError, OSError) as error:
            raise self.refused(400, "Unable to process input image.") from error


class GeminiEmulator(GoogleEmulator):
    """The Gemini Developer API. `videos_at`: the origin of the addresses of films, its own if null;
    `redirects_videos_to`: where they have moved. `trusts_all`: no key is needed.
    """

    models: tuple[str, ...] = (*GoogleEmulator.models, "gemini-omni-1.1-flash")

    def __init__(self, folder: Path, *, port: int = 0, key: str = KEY) -> None:
        super().__init__(folder, port=port)
        self.key = key
        self.videos_at: str | None = None
        self.redirects_videos_to: str | None = None
        self.trusts_all = False

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002 - the base's
        if path.startswith("/v1beta/files/"):
            return "file"
        if method == "GET" and ("/operations/" in path or path.startswith("/v1beta/interactions/")):
            return "poll"
        return "cancel" if path.endswith("/cancel") else "submit" if method == "POST" else "other"

    async def answer(self, call: Call) -> Reply:
        try:
            self.check(call)
            return await self._answer(call)
        except Refused as refused:
            return refused.reply

    def check(self, call: Call) -> None:
        if call.headers.get("x-goog-api-key") != self.key and not self.trusts_all:
            about = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            raise self.refused(400, "API key not valid. Please pass a valid API key.", about)

    def film(self, job: Job) -> Any:  # noqa: ARG002 - the base's
        return {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": self._address}}]}}

    @property
    def _address(self) -> str:
        return f"{self.videos_at or self.url}/v1beta/files/film:download?alt=media"

    async def _answer(self, call: Call) -> Reply:
        if call.kind == "file":
            return self._file()
        if call.path.startswith("/v1beta/interactions"):
            return self._interaction(call)
        if call.kind == "poll":
            return self.operation(call.path.removeprefix("/v1beta/"))
        if match := re.fullmatch(r"/v1beta/models/([a-z0-9.-]+):(\w+)", call.path):
            return await self.started(match[1], match[2], call, f"models/{match[1]}")
        raise self.refused(404, "Not Found")

    def _file(self) -> Reply:
        if self.redirects_videos_to is not None:
            return Reply(302, b"", {"Location": self.redirects_videos_to})
        return Reply(200, VIDEO, {"Content-Type": "video/mp4"})

    def _interaction(self, call: Call) -> Reply:
        if call.kind == "submit":
            body = call.json()
            if body["model"] not in self.models or not body["background"]:
                raise self.refused(400, f"Model {body['model']} does not support this.")
            # A list of contents, or of steps that have some: google-genai makes one step of a list of contents.
            contents = [part for each in body["input"] for part in each.get("content", [each])]
            for each in contents:
                if each["type"] == "image":
                    self._picture({**each, "mimeType": each["mime_type"]}, "data")
            (prompt,) = [each["text"] for each in contents if each["type"] == "text"]
            return self._began(f"v1_{secrets.token_hex(16)}", prompt, body, "id", status="in_progress")
        job = self.jobs.get(call.path.removeprefix("/v1beta/interactions/").removesuffix("/cancel"))
        if job is None:
            raise self.refused(404, "Interaction not found.")
        if call.kind == "cancel":
            job.ended = job.ended or "cancelled"
        else:
            self.polled(job)
        return Reply(200, self._shown(job))

    def _shown(self, job: Job) -> Any:
        answer: dict[str, Any] = {"id": job.id, "model": job.body["model"], "object": "interaction"}
        if job.ended == "cancelled" or not job.ended:
            return answer | {"status": job.ended or "in_progress"}
        if self.failure is not None:
            return answer | {"status": "failed", "errors": [self.failure]}
        video = {"type": "video", "mime_type": "video/mp4", "uri": self._address}
        steps = [{"type": "thought"}, {"type": "model_output", "content": [video]}]
        usage = {"total_input_tokens": 3, "total_output_tokens": 9, "total_tokens": 12}
        return answer | {"status": "completed", "steps": self.response or steps, "usage": usage}


class VertexEmulator(GoogleEmulator):
    """Vertex AI at any location. `issued` are the access tokens; to take one away revokes it. `token_life_s`: how long
    one is said to hold. `token_answer`: what the token endpoint answers, its own if null.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder, port=port)
        self.issued: list[str] = []
        self.token_life_s = 3599
        self.token_answer: Reply | None = None
        self.locations: list[str] = []  # where calls went, by their paths

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002 - the base's
        if path == "/token":
            return "token"
        if path.endswith(":fetchPredictOperation"):
            return "poll"
        return "file" if path.startswith("/storage/") else "submit" if method == "POST" else "other"

    async def answer(self, call: Call) -> Reply:
        try:
            if call.kind == "token":
                return self.token_answer or self._token(call)
            self.check(call)
            return await self._answer(call)
        except Refused as refused:
            return refused.reply

    def check(self, call: Call) -> None:
        if call.headers.get("authorization", "").removeprefix("Bearer ") not in self.issued:
            raise self.refused(401, "Request had invalid authentication credentials.")

    def film(self, job: Job) -> Any:
        bucket = job.body["parameters"].get("storageUri")
        where = {"gcsUri": f"{bucket}a b/0.mp4"} if bucket else {"bytesBase64Encoded": _text(VIDEO)}
        return {"raiMediaFilteredCount": 0, "videos": [where | {"mimeType": "video/mp4"}]}

    async def _answer(self, call: Call) -> Reply:
        if call.kind == "file":
            if call.query.get("alt") != "media" or not unquote(call.path).endswith("a b/0.mp4"):
                raise self.refused(404, "No such object.")
            return Reply(200, VIDEO, {"Content-Type": "video/mp4"})
        place = r"(projects/[\w.:-]+/locations/([\w-]+)/publishers/google/models/([a-z0-9.-]+))"
        match = re.fullmatch(rf"/v1/{place}:(\w+)", call.path)
        if match is None:
            raise self.refused(404, "Not Found")
        if call.kind == "poll":
            return self.operation(call.json()["operationName"])
        self.locations.append(match[2])
        return await self.started(match[3], match[4], call, match[1])

    def _token(self, call: Call) -> Reply:
        """https://developers.google.com/identity/protocols/oauth2/service-account#httprest."""
        form = parse_qs(call.body.decode())
        wrong = Reply(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        if form.get("grant_type") != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return wrong
        try:
            claims = jwt.decode(form["assertion"][0], _key().public_key(), algorithms=["RS256"], audience=_AUDIENCE)
        except jwt.PyJWTError:
            return wrong
        if claims["iss"] != ACCOUNT or claims["scope"] != _SCOPE:
            return wrong
        self.issued.append(f"ya29.emulated-{secrets.token_hex(16)}")
        return Reply(200, {"access_token": self.issued[-1], "expires_in": self.token_life_s, "token_type": "Bearer"})


def service_account(emulator_url: str) -> str:
    """The JSON of a service account's key that a `VertexEmulator` of this process, at that address, knows."""
    private = _key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "emulated",
            "private_key": private.decode(),
            "client_email": ACCOUNT,
            "token_uri": f"{emulator_url}/token",
        }
    )


def picture(width: int, height: int) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (width, height), (30, 120, 200)).save(target, "PNG")
    return target.getvalue()


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _sides(ratio: str) -> tuple[int, int]:
    across, down = (int(part) for part in ratio.split(":"))
    scale = _LONGER / max(across, down)
    return round(across * scale), round(down * scale)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
