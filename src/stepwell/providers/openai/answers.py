"""What OpenAI's answers say: its errors (https://developers.openai.com/docs/guides/error-codes), and the results of
calls that are answered with the work itself.

Such an answer is paid for, whatever it is worth. So where it holds no result (a refusal, nothing in the form that was
asked for, no picture) the attempt fails and isn't retried; a fallback provider may still do better. Only what the
server broke off, by its own account, is asked for again.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from anyio import to_thread
from msgspec import Meta, Struct, json

from stepwell.domain.errors import AttemptError
from stepwell.outbound.http_client import MAX_URL, origin_of
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.openai.images import decoded, seen
from stepwell.providers.shared.bounded_json import decode_json, read_json
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi, is_unauthorized
from stepwell.providers.shared.result_storage import store_from_answer

NAME = "OpenAI"
# Nothing mends these but somebody who pays: a wait doesn't, whatever the status 429 says.
_SPENT = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)
# Why a text ends in the middle by no fault of the request: OpenRouter's word, DeepSeek's
# (https://api-docs.deepseek.com/api/create-chat-completion) and vLLM's.
_BROKEN_OFF = frozenset({"error", "insufficient_system_resource", "abort"})
# Of a film that failed: what another attempt would run into again.
_HOPELESS = re.compile(r"moderation|policy|safety|sensitive|blocked|invalid|unsupported|not allowed", re.IGNORECASE)
_KEY = re.compile(r"\bsk-[\w*.-]+")  # OpenAI's own words quote a wrong key, with its middle left out
_ABOUT_A_MODEL = re.compile(rb"\bmodels?\b|model_|litellm|provider returned", re.IGNORECASE)
_SHOWN = 500


class Message(Struct, frozen=True):
    content: Any = None
    refusal: str | None = None


class Choice(Struct, frozen=True):
    """`error`: why it was broken off, as OpenRouter tells: https://openrouter.ai/docs/api-reference/errors."""

    message: Message
    finish_reason: str | None = None
    error: Any = None


class Chat(Struct, frozen=True):
    choices: Annotated[list[Choice], Meta(min_length=1)]
    model: str | None = None
    usage: Any = None


class Drawn(Struct, frozen=True):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: Any = None


class Drawings(Struct, frozen=True):
    data: list[Drawn]
    usage: Any = None


class _Error(Struct, frozen=True):
    message: str
    type: str | int | None = None
    code: str | int | None = None


class _Told(Struct, frozen=True):
    error: _Error


class Words:
    """Reads errors for one call. The *secret* appears in nothing that it says."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret
        self.spent = False

    def __call__(self, body: bytes) -> str | None:
        """The words of an error: {"error": {"message", "type", "code"}}, or the {"detail"} of servers made with
        FastAPI. Notes whether it says that there is no money left.
        """
        told = read_json(body, _Told)
        if told is not None:
            self.spent = bool({told.error.type, told.error.code} & _SPENT)
            kind = told.error.code if isinstance(told.error.code, str) else told.error.type
            return self.clean(f"{kind}: {told.error.message}" if isinstance(kind, str) else told.error.message)
        found = read_json(body, dict[str, Any])
        detail = None if found is None else found.get("detail")
        if isinstance(detail, str | list) and detail:
            return self.clean(detail if isinstance(detail, str) else json.encode(detail).decode())
        return None

    def clean(self, text: str) -> str:
        return _KEY.sub("…", text.replace(self._secret, "…") if self._secret else text)


class OpenAiSession(NamedTuple):
    """The calls with one key, to the API at *url*."""

    api: ProviderApi
    url: str
    headers: Mapping[str, str]
    words: Words


def refuses_key(answer: ApiAnswer) -> bool:
    """Return whether a 401 is about the key itself. Gateways also answer 401 if a key may not use a model, or if the
    server behind a model refuses the gateway's own key: https://docs.litellm.ai/docs/exception_mapping,
    https://openrouter.ai/docs/api-reference/errors.
    """
    return is_unauthorized(answer) and _ABOUT_A_MODEL.search(answer.body) is None


def is_hopeless(words: str) -> bool:
    """Whether a film that failed with these words would fail again."""
    return bool(_HOPELESS.search(words))


def chat_result(chat: Chat, model: str, words: Words, *, as_json: bool) -> dict[str, Any]:
    """`result_text`, `finish_reason`, `model` and `usage`, and `result_json` if the answer is to be JSON.

    A text that was cut off at the limit of tokens is a result, and its `finish_reason` is "length"; JSON that was cut
    off isn't. Raises `AttemptError`, retryable where the server broke the answer off.
    """
    choice = chat.choices[0]
    text, reason = _text(choice.message.content), choice.finish_reason
    if choice.message.refusal:
        raise _paid(f"the model refused: {words.clean(choice.message.refusal)}")
    if reason == "content_filter":
        raise _paid("its content filter has stopped the answer")
    if choice.error or reason in _BROKEN_OFF:
        told = choice.error.get("message") if isinstance(choice.error, Mapping) else choice.error
        said = f": {words.clean(told)}" if isinstance(told, str) and told else ""
        raise _paid(f"the server broke the answer off (finish_reason: {reason}){said}", retryable=True)
    if reason == "length" and (as_json or not text):
        raise _paid("the answer was cut off at the limit of tokens; max_tokens counts those for reasoning too")
    if not text:
        raise _paid(f"the answer has no text (finish_reason: {sanitised(str(reason), 40)})")
    result: dict[str, Any] = {"result_text": text, "model": chat.model or model}
    if reason is not None:
        result["finish_reason"] = reason
    if isinstance(chat.usage, Mapping):
        result["usage"] = chat.usage
    return result | ({"result_json": _json(text)} if as_json else {})


def drawing_of(drawings: Drawings) -> Drawn:
    """The picture: with `b64_json`, or with an http(s) address as `url`. Raises `AttemptError`, not retryable."""
    for drawn in drawings.data:
        if drawn.b64_json:
            return drawn
        if drawn.url and drawn.url[:5].lower() == "data:":
            return Drawn(b64_json=drawn.url, revised_prompt=drawn.revised_prompt)
        if drawn.url and len(drawn.url) <= MAX_URL and origin_of(drawn.url):
            return drawn
    raise _paid("the answer has no picture")


async def picture_result(drawn: Drawn, usage: Any, model: str, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
    """The result of a step, with the picture of `b64_json` stored. Raises `AttemptError`: not retryable if it is none,
    as `keeping.stored_of_answer` if it could not be stored.
    """
    data = await to_thread.run_sync(decoded, drawn.b64_json or "")
    about = None if data is None else await to_thread.run_sync(seen, data)
    if data is None or about is None:
        raise _paid("what it has sent isn't a picture as PNG, JPEG, WebP or GIF")
    stored = await store_from_answer(attempt, io, f"result.{about.extension}", data)
    result = {"result_image_path": stored.path, "width": about.width, "height": about.height, "format": about.format}
    result |= {"size": stored.size, "model": model}
    if isinstance(usage, Mapping):
        result["usage"] = usage
    return result | ({"revised_prompt": drawn.revised_prompt} if isinstance(drawn.revised_prompt, str) else {})


def _text(content: Any) -> str:
    """A message's text, which some servers send in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _json(text: str) -> Any:
    """Servers that pay no heed to a schema like to put JSON in a fence."""
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        return decode_json(bare.encode("utf-8", "replace"), Any)
    except ValueError as error:
        raise _paid("the answer isn't the JSON that was asked for") from error


def _paid(why: str, *, retryable: bool = False) -> AttemptError:
    return AttemptError(sanitised(f"{NAME}: {why}", _SHOWN), retryable=retryable)
