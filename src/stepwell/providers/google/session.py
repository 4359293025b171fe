"""Google's APIs, called with one credential. The credential is masked in all messages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import httpx

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.definition.provider_descriptors import ProviderDescriptor
from stepwell.outbound.sanitise import mask_secrets
from stepwell.ports.providers import AnswerMemory
from stepwell.providers.google.answers import error_of
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi

T = TypeVar("T")

MAX_ANSWER = 96 * 1024 * 1024  # bytes: a video of 8 seconds in 4K, or an image, as base64
SUCCESS = frozenset(range(200, 300))


class ModelTerms(NamedTuple):
    """The limits of calls. `timeout_s` and `work_s` are those of `ProviderApi`; `max_answer` is in bytes."""

    timeout_s: float
    work_s: float
    max_answer: int = MAX_ANSWER


class GoogleSession:
    """Calls with one credential.

    *headers* contain the credential, and *hidden* are its secret parts. *project* is its Google Cloud project. *key* is
    the key from the settings; *refuses_key* returns whether an answer refuses it. *refused* is called when Google
    refuses the credential; None: the next attempt can't get another one.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        provider: ProviderDescriptor,
        headers: Mapping[str, str],
        hidden: Sequence[str],
        limits: ModelTerms,
        *,
        answers: AnswerMemory | None,
        key: Key,
        refuses_key: Callable[[ApiAnswer], bool],
        project: str = "",
        refused: Callable[[], None] | None = None,
    ) -> None:
        self.headers, self.project, self._refused = headers, project, refused
        self._hidden = sorted(hidden, key=len, reverse=True)
        self._retry_after_s: float | None = None
        self._renewable = False
        api = partial(ProviderApi, client, provider.name, self.error_text, provider=provider, answers=answers)
        api = partial(api, timeout_s=limits.timeout_s, max_answer=limits.max_answer, key=key, refuses_key=refuses_key)
        self._api, self._work_api = api(), api(work_s=limits.work_s)

    def masked(self, text: str) -> str:
        return mask_secrets(text, self._hidden)

    @contextmanager
    def masking(self) -> Iterator[None]:
        """Mask the secrets in the message of an `AttemptError` that is raised inside."""
        try:
            yield
        except AttemptError as error:
            error.args = (self.masked(str(error)),)
            raise

    async def submit(self, url: str, body: bytes, accepted: type[T], *, works: bool = False) -> T:
        """Submit as `ProviderApi.submit` does. A RetryInfo in the answer counts as Retry-After.

        *works*: the answer is the result itself. An expired token is retryable, because the next attempt gets another.
        """
        api = self._work_api if works else self._api
        try:
            return (await api.submit(url, body, self.headers, accepted))[1]
        except AttemptError as error:
            error.retryable = error.retryable or self._renewable
            if error.retryable and error.retry_after_s is None:
                error.retry_after_s = self._retry_after_s
            raise

    async def call(self, method: str, url: str, body: bytes | None = None, ok: frozenset[int] = SUCCESS) -> ApiAnswer:
        """Call as `ProviderApi.call` does. A RetryInfo in the answer counts as Retry-After."""
        try:
            return await self._api.call(method, url, self.headers, body, ok=ok)
        except CallFailed as error:
            if error.retry_after_s is None:
                error.retry_after_s = self._retry_after_s
            raise

    def readable(self, answer: ApiAnswer, kind: type[T]) -> T:
        """Decode an answer as `ProviderApi.readable` does."""
        return self._api.readable(answer, kind)

    def error_text(self, body: bytes) -> str | None:
        """Return the message of an error; None if *body* isn't one in Google's form. An `ErrorText`."""
        problem = error_of(body)
        if problem is None:
            return None
        self._retry_after_s = problem.retry_after_s
        if problem.unauthenticated and self._refused is not None:
            self._renewable = True
            self._refused()
        return self.masked(problem.words)
