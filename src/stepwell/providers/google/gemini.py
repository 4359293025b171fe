"""The provider for the Gemini Developer API: text and images by generateContent, videos by Gemini Omni.

The protocol: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/models#method:-models.predict and
https://ai.google.dev/gemini-api/docs/video. The key is sent as in https://ai.google.dev/gemini-api/docs/api-key. Videos
of Omni are made by `Interactions`.
"""

import re
from typing import Any

import httpx

from stepwell.basics.strict_json.canonical import canonical
from stepwell.contract.enums import ProviderType
from stepwell.outbound.http_client import origin_of
from stepwell.ports.providers import Attempt, AttemptIO, CancelAnswer, Finished, Job, JobState, Request
from stepwell.providers.google.answers import refuses_api_key
from stepwell.providers.google.bodies import omni_body
from stepwell.providers.google.descriptors import GEMINI, GeminiSettings
from stepwell.providers.google.models import Family, family_of
from stepwell.providers.google.provider import GoogleProvider
from stepwell.providers.google.session import MAX_ANSWER, GoogleSession, ModelTerms
from stepwell.providers.google.video_jobs import Interactions, VideoOperation
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.setup import ProviderSetup, call_options

_REDIRECTS = 3

PUBLIC_URL = "https://generativelanguage.googleapis.com"


class GeminiProvider(GoogleProvider):
    """The key is the credential "GEMINI", or the one that a step names.

    *client* is an `http_client.plain_client`, *url* the API's base. *timeout_s* is the deadline of a call, and *work_s*
    that of a call which is answered with the result. *max_answer* bounds an answer, in bytes. `provider_config` may
    have `model` (see `models`) and `parameters`: more members of `generationConfig`, of predict's `parameters`, or of
    Omni's `response_format`. They don't override a step's inputs.
    """

    type = ProviderType.GEMINI
    seeded = False
    operation_name = re.compile(r"models/[a-z0-9][a-z0-9.-]{0,99}/operations/[A-Za-z0-9_-]{1,200}")

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str = PUBLIC_URL,
        listing_lag_s: float = 0.0,
        timeout_s: float = 30.0,
        work_s: float = 300.0,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        super().__init__(client, credentials, listing_lag_s, ModelTerms(timeout_s, work_s, max_answer))
        self._url, self._origin = url.rstrip("/"), origin_of(url)
        self._interactions = Interactions(self.type, f"{self._url}/v1beta/interactions")

    async def _body(self, attempt: Attempt, model: str, io: AttemptIO) -> dict[str, Any]:
        if family_of(model) is Family.OMNI:
            return await omni_body(attempt, model, io)
        return await super()._body(attempt, model, io)

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:
        if family_of(request.model) is Family.OMNI:
            return await self._interactions.create(await self._session(attempt), canonical(request.body))
        return await super().submit(attempt, request, io)

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        if self._interactions.has(job):
            return await self._interactions.state(await self._job_session(attempt), job)
        return await super().poll(attempt, job)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        if not self._interactions.has(job):
            return await super().fetch(attempt, job, io)
        session = await self._job_session(attempt)
        video, facts = await self._interactions.video(session, job)
        return Finished(await self._video_result(attempt, session, video, io) | facts)

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        """Cancel an interaction, which is possible while it runs. For operations see `GoogleProvider`."""
        if self._interactions.has(job):
            return await self._interactions.cancel(await self._job_session(attempt), job)
        return await super().cancel(attempt, job)

    async def _session(self, attempt: Attempt) -> GoogleSession:
        key = self._key(attempt)
        return GoogleSession(
            self._client,
            GEMINI,
            {"x-goog-api-key": key.secret},
            [key.secret],
            self._limits,
            answers=attempt.answers,
            key=key,
            refuses_key=refuses_api_key,
        )

    def _endpoint(self, _attempt: Attempt, _session: GoogleSession, call: str, /) -> str:
        return f"{self._url}/v1beta/models/{call}"

    async def _operation(self, session: GoogleSession, name: str) -> VideoOperation:
        answer = await session.call("GET", f"{self._url}/v1beta/{name}")
        return session.readable(answer, VideoOperation)

    async def _download_video(self, session: GoogleSession, uri: str, io: AttemptIO) -> dict[str, Any]:
        """Download a video. The key is sent to the API itself only, wherever the video is."""
        own = self._origin is not None and origin_of(uri) == self._origin
        headers, words = (session.headers, session.error_text) if own else (None, None)
        output = await io.download(
            uri, "result.mp4", ("video/",), headers=headers, error_text=words, redirects=_REDIRECTS
        )
        return {"result_video_path": output.path, "format": "MP4", "size": output.size}


def build(setup: ProviderSetup[GeminiSettings]) -> GeminiProvider:
    url, work_s = setup.own.url or PUBLIC_URL, setup.settings.provider_work_s
    return GeminiProvider(setup.client, setup.credentials, url=url, work_s=work_s, **call_options(setup, 30.0))
