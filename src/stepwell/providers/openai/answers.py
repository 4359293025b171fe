"""OpenAI's answers: its errors, and the results of chat and image calls.

Errors: https://developers.openai.com/docs/guides/error-codes. An answer with work is paid for. So if it contains no
result (a refusal, another form than was asked for, no image), the attempt fails without a retry; a fallback provider
may do better. Only an answer that the server reports as broken off is retried.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from anyio import to_thread
from msgspec import Meta, Struct, json

from stepwell.basics.errors import AttemptError
from stepwell.outbound.http_client import MAX_URL, origin_of
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.openai.files import image_bytes, inspect
from stepwell.providers.shared.bounded_json import decode_json, read_json, without_code_fence
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi, is_unauthorized
from stepwell.providers.shared.result_storage import store_from_answer

NAME = "OpenAI"
# Errors that only a payment fixes. Their status 429 doesn't mean that waiting helps.
_CREDIT_ERRORS = frozenset(
    {
        *("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached", "billing_not_active"),
        *("project_spend_limit_exceeded", "organization_spend_limit_exceeded", "organization_usage_limit_exceeded"),
    }
)
# Finish reasons of a text that the server broke off: OpenRouter's, DeepSeek's
# (https://api-docs.deepseek.com/api/create-chat-completion) and vLLM's.
_BROKEN_OFF = frozenset({"error", "insufficient_system_resource", "abort"})
_KEY = re.compile(r"\bsk-[\w*.-]+")  # OpenAI's message for a wrong key quotes its beginning and end
_ABOUT_A_MODEL = re.compile(rb"\bmodels?\b|model_|litellm|provider returned", re.IGNORECASE)
_MAX_MESSAGE = 500  # bytes


class Message(Struct, frozen=True):
    content: Any = None
    refusal: str | None = None


class Choice(Struct, frozen=True):
    """One choice of a chat answer. `error` is OpenRouter's: https://openrouter.ai/docs/api-reference/errors."""

    message: Message
    finish_reason: str | None = None
    error: Any = None


class Chat(Struct, frozen=True):
    choices: Annotated[list[Choice], Meta(min_length=1)]
    model: str | None = None
    usage: Any = None


class GeneratedImage(Struct, frozen=True):
    """One image of an answer, as data or by its URL."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: Any = None


class ImagesAnswer(Struct, frozen=True):
    data: list[GeneratedImage]
    usage: Any = None


class _Error(Struct, frozen=True):
    message: str
    type: str | int | None = None
    code: str | int | None = None


class _ErrorBody(Struct, frozen=True):
    error: _Error


class ErrorReader:
    """Reads the errors of one call, and masks *secret* in their messages. `out_of_credit`: an error was about money."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret
        self.out_of_credit = False

    def __call__(self, body: bytes) -> str | None:
        """Return the message of an error; None if *body* isn't one. Sets `out_of_credit`.

        The forms are {"error": {"message", "type", "code"}}, and {"detail"} of servers that use FastAPI.
        """
        error_body = read_json(body, _ErrorBody)
        if error_body is not None:
            error = error_body.error
            self.out_of_credit = bool({error.type, error.code} & _CREDIT_ERRORS)
            kind = error.code if isinstance(error.code, str) else error.type
            return self.masked(f"{kind}: {error.message}" if isinstance(kind, str) else error.message)
        content = read_json(body, dict[str, Any])
        detail = None if content is None else content.get("detail")
        if isinstance(detail, str | list) and detail:
            return self.masked(detail if isinstance(detail, str) else json.encode(detail).decode())
        return None

    def masked(self, text: str) -> str:
        """Return *text* without the secret, and without parts of other keys."""
        return _KEY.sub("…", text.replace(self._secret, "…") if self._secret else text)


class OpenAiSession(NamedTuple):
    """The means for calls with one key. `url` is the base of the API."""

    api: ProviderApi
    url: str
    headers: Mapping[str, str]
    words: ErrorReader


def refuses_key(answer: ApiAnswer) -> bool:
    """Return whether a 401 is about the key itself.

    Gateways also answer 401 if a key may not use a model, or if the server behind a model refuses the gateway's key:
    https://docs.litellm.ai/docs/exception_mapping, https://openrouter.ai/docs/api-reference/errors.
    """
    return is_unauthorized(answer) and _ABOUT_A_MODEL.search(answer.body) is None


def chat_result(chat: Chat, model: str, words: ErrorReader, *, as_json: bool) -> dict[str, Any]:
    """Return the step's result: `result_text`, `finish_reason`, `model`, `usage`, and with *as_json* `result_json`.

    A text that was cut off at the token limit is a result; its `finish_reason` is "length". JSON that was cut off is
    not. Raises `AttemptError`, which is retryable only if the server broke the answer off.
    """
    choice = chat.choices[0]
    text, reason = _text(choice.message.content), choice.finish_reason
    if choice.message.refusal:
        raise _paid(f"the model refused: {words.masked(choice.message.refusal)}")
    if reason == "content_filter":
        raise _paid("its content filter has stopped the answer")
    if choice.error or reason in _BROKEN_OFF:
        message = choice.error.get("message") if isinstance(choice.error, Mapping) else choice.error
        why = f": {words.masked(message)}" if isinstance(message, str) and message else ""
        raise _paid(f"the server broke the answer off (finish_reason: {reason}){why}", retryable=True)
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


def first_image(answer: ImagesAnswer) -> GeneratedImage:
    """Return the first image, with either `b64_json` or an http(s) `url`. Raises `AttemptError`, not retryable."""
    for image in answer.data:
        if image.b64_json:
            return image
        if image.url and image.url[:5].lower() == "data:":
            return GeneratedImage(b64_json=image.url, revised_prompt=image.revised_prompt)
        if image.url and len(image.url) <= MAX_URL and origin_of(image.url):
            return image
    raise _paid("the answer has no image")


async def image_result(
    image: GeneratedImage, usage: Any, model: str, attempt: Attempt, io: AttemptIO
) -> dict[str, Any]:
    """Store the image in `b64_json`, and return the step's result.

    Raises `AttemptError`: not retryable if it isn't an image, and as `store_from_answer` if it can't be stored.
    """
    data = await to_thread.run_sync(image_bytes, image.b64_json or "")
    info = None if data is None else await to_thread.run_sync(inspect, data)
    if data is None or info is None:
        raise _paid("what it has sent isn't an image as PNG, JPEG, WebP or GIF")
    output = await store_from_answer(attempt, io, f"result.{info.extension}", data)
    result = {"result_image_path": output.path, "width": info.width, "height": info.height, "format": info.format}
    result |= {"size": output.size, "model": model}
    if isinstance(usage, Mapping):
        result["usage"] = usage
    return result | ({"revised_prompt": image.revised_prompt} if isinstance(image.revised_prompt, str) else {})


def _text(content: Any) -> str:
    """Return the text of a message, which some servers send in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _json(text: str) -> Any:
    """Decode JSON. Servers that ignore a schema often put it into a code fence, which is removed."""
    try:
        return decode_json(without_code_fence(text).encode("utf-8", "replace"), Any)
    except ValueError as error:
        raise _paid("the answer isn't the JSON that was asked for") from error


def _paid(why: str, *, retryable: bool = False) -> AttemptError:
    return AttemptError(sanitised(f"{NAME}: {why}", _MAX_MESSAGE), retryable=retryable)
