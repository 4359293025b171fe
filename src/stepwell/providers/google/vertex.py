"""The provider for Vertex AI (now part of Google's Agent Platform): Gemini, Imagen and Veo for service accounts.

The protocol: https://docs.cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation. Locations:
https://docs.cloud.google.com/gemini-enterprise-agent-platform/resources/locations.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from stepwell.basics.errors import AttemptError, Fault
from stepwell.basics.strict_json.canonical import canonical
from stepwell.contract.enums import ProviderType
from stepwell.lifecycle.steps import KnownStep
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.google.access_tokens import AccountRefused, Accounts
from stepwell.providers.google.descriptors import VERTEX, VertexSettings
from stepwell.providers.google.models import Family, family_of, same_spelling
from stepwell.providers.google.provider import GoogleProvider
from stepwell.providers.google.session import MAX_ANSWER, GoogleSession, ModelTerms
from stepwell.providers.google.video_jobs import VideoOperation
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.provider_api import key_refusal
from stepwell.providers.shared.refusals import collect_refusals, config_refusal
from stepwell.providers.shared.setup import ProviderSetup, call_options

_LOCATION = re.compile(r"[a-z]{2,40}(?:-[a-z]{2,40}[0-9]{1,3})?")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,99}")
_OPERATION = re.compile(
    rf"(projects/{_PROJECT.pattern}/locations/({_LOCATION.pattern})/publishers/google/models/[a-z0-9][a-z0-9.-]{{0,99}})"
    r"/operations/[A-Za-z0-9_-]{1,200}"
)
_BUCKET = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,221})/(.{1,1024})")
_GLOBAL = "global"
_MULTI_REGIONS = frozenset({"us", "eu"})
_DEFAULT_REGION = "us-central1"


class VertexProvider(GoogleProvider):
    """The credential "VERTEX", or the one that a step names, is the JSON of a service account's key.

    *client* is an `http_client.plain_client`. *url* is the API's base (None: Google's, at the location of a call), and
    *storage_url* that of Cloud Storage. *project* is the Google Cloud project (None: the account's). *location* is
    where calls go (None: "global" for Gemini, us-central1 for Imagen and Veo). *timeout_s* is the deadline of a call,
    also for an access token; *work_s* is that of a call which is answered with the result. *max_answer* bounds an
    answer, in bytes.

    `provider_config` may have `model` (see `models`), `location`, and `parameters`: more members of `generationConfig`,
    or of predict's `parameters`. They don't override a step's inputs. With a *bucket* ("gs://bucket/folder/"), videos
    are written to it, and read from it with the account's token; without one, they come in the answer. A step can't
    name a bucket, because it would read and write with the operator's rights.
    """

    type = ProviderType.VERTEX
    seeded = True
    operation_name = _OPERATION

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str | None = None,
        storage_url: str = "https://storage.googleapis.com",
        project: str | None = None,
        location: str | None = None,
        bucket: str | None = None,
        listing_lag_s: float = 0.0,
        timeout_s: float = 30.0,
        work_s: float = 300.0,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        super().__init__(client, credentials, listing_lag_s, ModelTerms(timeout_s, work_s, max_answer))
        self._url, self._storage_url = url and url.rstrip("/"), storage_url.rstrip("/")
        self._project, self._location, self._bucket = project, location, bucket
        self._accounts = Accounts(self.type)

    def refusals(self, step: KnownStep) -> Iterator[Fault]:
        yield from super().refusals(step)
        yield from collect_refusals(partial(_check_bucket, step.provider_config))
        if location := step.provider_config.get("location"):
            yield from collect_refusals(partial(_check_location, location))

    async def _session(self, attempt: Attempt) -> GoogleSession:
        key = self._key(attempt)
        account = await self._accounts.of(key.secret)
        try:
            token = await account.token(self._limits.timeout_s)
        except AccountRefused as error:
            key.report_refused()
            raise AttemptError(f"{self.type}: {key_refusal(key)}{error}", retryable=False) from error
        key.report_accepted()
        return GoogleSession(
            self._client,
            VERTEX,
            {"Authorization": f"Bearer {token}"},
            [token, *account.hidden],
            self._limits,
            answers=attempt.answers,
            key=key,
            refuses_key=lambda _: False,  # an answer here refuses the token or the request, never the account
            project=self._project or account.project,
            refused=lambda: account.forget(token),
        )

    async def _body(self, attempt: Attempt, model: str, io: AttemptIO) -> dict[str, Any]:
        _check_bucket(attempt.provider_config)
        body = await super()._body(attempt, model, io)
        if self._bucket is not None and family_of(model) is Family.VEO:
            body["parameters"]["storageUri"] = self._bucket
        return body

    def _endpoint(self, attempt: Attempt, session: GoogleSession, call: str) -> str:
        project, location = session.project, self._location_of(attempt, call)
        if not _PROJECT.fullmatch(project):
            raise AttemptError(f"{self.type}: the service account names no project; set one", retryable=False)
        path = f"projects/{project}/locations/{location}/publishers/google/models/{call}"
        return f"{self._base(location)}/v1/{path}"

    def _location_of(self, attempt: Attempt, call: str) -> str:
        location = attempt.provider_config.get("location") or self._location
        if location is None:
            return _GLOBAL if family_of(call) is Family.GEMINI else _DEFAULT_REGION
        return _check_location(location)

    def _base(self, location: str) -> str:
        if self._url is not None:
            return self._url
        if location == _GLOBAL:
            return "https://aiplatform.googleapis.com"
        if location in _MULTI_REGIONS:
            return f"https://aiplatform.{location}.rep.googleapis.com"
        return f"https://{location}-aiplatform.googleapis.com"

    async def _operation(self, session: GoogleSession, name: str) -> VideoOperation:
        match = _OPERATION.fullmatch(name)
        assert match is not None
        url = f"{self._base(match[2])}/v1/{match[1]}:fetchPredictOperation"
        return session.readable(await session.call("POST", url, canonical({"operationName": name})), VideoOperation)

    async def _download_video(self, session: GoogleSession, uri: str, io: AttemptIO) -> dict[str, Any]:
        """Download a video from a bucket: https://docs.cloud.google.com/storage/docs/json_api/v1/objects/get.

        For a missing object, Cloud Storage answers with plain text.
        """
        match = _BUCKET.fullmatch(uri)
        if match is None:
            raise AttemptError(f"{self.type}: the video's URL is not in a bucket", retryable=False)
        url = f"{self._storage_url}/storage/v1/b/{match[1]}/o/{quote(match[2], safe='')}?alt=media"
        missing = f"No such object: {match[1]}/{match[2]}"

        def error_text(body: bytes) -> str | None:
            return missing if body.strip() == missing.encode() else session.error_text(body)

        output = await io.download(url, "result.mp4", ("video/",), headers=session.headers, error_text=error_text)
        return {"result_video_path": output.path, "format": "MP4", "size": output.size}


def _check_bucket(config: Mapping[str, Any]) -> None:
    parameters = config.get("parameters")
    if isinstance(parameters, Mapping) and any(same_spelling(name) == "storageuri" for name in parameters):
        raise config_refusal("parameters", "storageUri", why="the service's settings decide where videos are stored")


def _check_location(named: Any) -> str:
    if not isinstance(named, str) or not _LOCATION.fullmatch(named):
        raise config_refusal("location", why="expected a location of Google Cloud, such as us-central1 or global")
    return named


def build(setup: ProviderSetup[VertexSettings]) -> VertexProvider:
    own = setup.own
    return VertexProvider(
        setup.client,
        setup.credentials,
        url=own.url,
        project=own.project,
        location=own.location,
        bucket=own.bucket,
        work_s=setup.settings.provider_work_s,
        **call_options(setup, 30.0),
    )
