"""Google's APIs for one credential, which appears in nothing that they say."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import httpx

from stepwell.domain.errors import AttemptError, CallFailed
from stepwell.outbound.sanitise import masked
from stepwell.providers.google.answers import problem_of
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi

T = TypeVar("T")

MAX_ANSWER = 96 * 1024 * 1024  # bytes: a film of 8 seconds in 4K, or a picture, as base64
SUCCESS = frozenset(range(200, 300))


class ModelTerms(NamedTuple):
    """*timeout_s* and *work_s* as `ProviderApi` has them; *max_answer* in bytes."""

    timeout_s: float
    work_s: float
    max_answer: int = MAX_ANSWER


class GoogleSession:
    """*headers* carry the credential, *hidden* are the secrets in it, *project* is the one that it works for; *refused*
    is called when Google says that it doesn't hold (any more), if there may be another then. *key* is the
    source of the credential. *refuses_key* returns whether an answer refuses it.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        name: str,
        headers: Mapping[str, str],
        hidden: Sequence[str],
        limits: ModelTerms,
        *,
        key: Key,
        refuses_key: Callable[[ApiAnswer], bool],
        project: str = "",
        refused: Callable[[], None] | None = None,
    ) -> None:
        self.headers, self.project, self._refused = headers, project, refused
        self._hidden = sorted(hidden, key=len, reverse=True)
        self._again_s: float | None = None
        self._renewable = False
        api = partial(
            ProviderApi,
            client,
            name,
            self.error_text,
            timeout_s=limits.timeout_s,
            max_answer=limits.max_answer,
            key=key,
            refuses_key=refuses_key,
        )
        self._api, self._working = api(), api(work_s=limits.work_s)

    def scrubbed(self, text: str) -> str:
        return masked(text, self._hidden)

    @contextmanager
    def scrubbing(self) -> Iterator[None]:
        """Within, an `AttemptError` about what Google has answered says nothing of the credential."""
        try:
            yield
        except AttemptError as error:
            error.args = (self.scrubbed(str(error)),)
            raise

    async def submit(self, url: str, body: bytes, accepted: type[T], *, works: bool = False) -> T:
        """As `ProviderApi.submit`; a RetryInfo in the answer counts as its Retry-After. *works*: it is answered with
        the result itself. A token that doesn't hold any more is no reason to give up: the next attempt has another.
        """
        api = self._working if works else self._api
        try:
            return (await api.submit(url, body, self.headers, accepted))[1]
        except AttemptError as error:
            error.retryable = error.retryable or self._renewable
            if error.retryable and error.retry_after_s is None:
                error.retry_after_s = self._again_s
            raise

    async def call(self, method: str, url: str, body: bytes | None = None, ok: frozenset[int] = SUCCESS) -> ApiAnswer:
        """As `ProviderApi.call`, with the same."""
        try:
            return await self._api.call(method, url, self.headers, body, ok=ok)
        except CallFailed as error:
            if error.retry_after_s is None:
                error.retry_after_s = self._again_s
            raise

    def readable(self, answer: ApiAnswer, kind: type[T]) -> T:
        return self._api.readable(answer, kind)

    def words(self, answer: ApiAnswer) -> str | None:
        """Those of an error; None if it isn't one as Google words it."""
        return self.error_text(answer.body)

    def error_text(self, body: bytes) -> str | None:
        """`ports.providers.ErrorText`."""
        problem = problem_of(body)
        if problem is None:
            return None
        self._again_s = problem.again_s
        if problem.unauthenticated and self._refused is not None:
            self._renewable = True
            self._refused()
        return self.scrubbed(problem.words)
