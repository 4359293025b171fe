"""Google's answers: its errors, and the results of generateContent and predict.

Errors: https://google.aip.dev/193, and https://ai.google.dev/gemini-api/docs/troubleshooting for the Gemini API. Finish
and block reasons: https://ai.google.dev/api/generate-content. A result that Google's filters withhold isn't retried,
because they would withhold it again.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from stepwell.basics.errors import AttemptError, OutcomeUnknown
from stepwell.outbound.http_client import MAX_RETRY_AFTER_S
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.google.media import decode_media, store_media
from stepwell.providers.google.models import same_spelling
from stepwell.providers.shared.bounded_json import decode_json, read_json
from stepwell.providers.shared.provider_api import ApiAnswer, is_unauthorized

_UNAUTHENTICATED = 401
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
# Finish reasons of a complete answer.
_COMPLETE = frozenset({None, "STOP", "FINISH_REASON_UNSPECIFIED"})
# Finish reasons that another attempt would meet again.
_PERMANENT_REASONS = frozenset(
    {
        *("MAX_TOKENS", "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
    }
)
# https://docs.cloud.google.com/apis/design/errors, and google.api.ErrorReason in
# https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto
_KEY_REASONS = frozenset(
    {
        *("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "CONSUMER_SUSPENDED", "API_KEY_HTTP_REFERRER_BLOCKED"),
        *("API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_ANDROID_APP_BLOCKED", "API_KEY_IOS_APP_BLOCKED"),
    }
)
_LEAKED = re.compile(r"^PERMISSION_DENIED: Your API key was reported as leaked")
_MAX_MESSAGE = 300  # bytes
_JSON = "application/json"


class GoogleError(Struct, frozen=True):
    """An error of Google's. `retry_after_s` is the delay in its RetryInfo, `reason` the reason in its ErrorInfo."""

    words: str
    unauthenticated: bool = False
    retry_after_s: float | None = None
    reason: str = ""


class GenerateContentAnswer(Struct, rename="camel"):
    candidates: Any = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    model_version: Any = None


class PredictAnswer(Struct):
    """The answer to predict. It also has a prediction for a filtered result, because the request asks for reasons."""

    predictions: list[Any]


def error_of(body: bytes) -> GoogleError | None:
    """Decode {"error": {"code", "message", "status", "details"}}, or a list with one such object; else None."""
    answer: Any = read_json(body, Any)
    if isinstance(answer, list) and answer:
        answer = answer[0]
    error = answer.get("error") if isinstance(answer, Mapping) else None
    if not isinstance(error, Mapping) or not isinstance(error.get("message"), str) or not error["message"]:
        return None
    status, code = error.get("status"), error.get("code")
    has_status = isinstance(status, str) and status != ""
    words = f"{status}: {error['message']}" if has_status else error["message"]
    unauthenticated, details = code == _UNAUTHENTICATED or status == "UNAUTHENTICATED", error.get("details")
    return GoogleError(words, unauthenticated, _retry_after_s(details), _reason(details))


def refuses_api_key(answer: ApiAnswer) -> bool:
    """Return whether Google refuses the key. It answers 400 to an invalid key, and 403 to one that may not be used.

    Other errors with these statuses are about the request or its model.
    """
    problem = error_of(answer.body)
    if problem is None:
        return is_unauthorized(answer)
    return problem.unauthenticated or problem.reason in _KEY_REASONS or _LEAKED.search(problem.words) is not None


async def text_result(name: str, body: Mapping[str, Any], model: str, answer: GenerateContentAnswer) -> dict[str, Any]:
    """Return the step's result for a text. *body* is the request. Raises `AttemptError` without a complete text."""
    candidate = _candidate(name, answer)
    reason, text = candidate.get("finishReason"), "".join(_texts(candidate))
    if reason not in _COMPLETE:
        raise _incomplete(name, candidate, reason)
    if not text:
        raise AttemptError(f"{name}: the answer has no text", retryable=True)
    result: dict[str, Any] = {"result_text": text}
    settings = body.get("generationConfig", {})
    if any(value == _JSON for name, value in settings.items() if same_spelling(name) == "responsemimetype"):
        try:
            result["result_json"] = decode_json(text, Any)
        except ValueError as error:
            raise AttemptError(f"{name}: the answer isn't JSON, which was asked for", retryable=True) from error
    return result | _model_and_usage(model, answer)


async def image_result(
    name: str, body: Mapping[str, Any], model: str, answer: GenerateContentAnswer, attempt: Attempt, io: AttemptIO
) -> dict[str, Any]:
    """Store the image of generateContent, and return the step's result. Raises `AttemptError`."""
    candidate = _candidate(name, answer)
    inline = next((image for part in _parts(candidate) if (image := part.get("inlineData"))), None)
    if not isinstance(inline, Mapping):
        raise _incomplete(name, candidate, candidate.get("finishReason"))
    image = await decode_media(inline.get("data"), is_video=False)
    if image is None:
        raise AttemptError(f"{name}: the data of the image is not an image", retryable=True)
    facts = {"seed": body["generationConfig"]["seed"]} | _model_and_usage(model, answer)
    return await store_media(image, attempt, io) | facts


async def imagen_result(
    name: str, body: Mapping[str, Any], model: str, answer: PredictAnswer, attempt: Attempt, io: AttemptIO
) -> dict[str, Any]:
    """Store the image of predict (Imagen), and return the step's result. Raises `AttemptError`."""
    predictions = objects_in(answer.predictions)
    prediction = next((each for each in predictions if each.get("bytesBase64Encoded")), None)
    if prediction is None:
        reasons = [each["raiFilteredReason"] for each in predictions if each.get("raiFilteredReason")]
        if reasons:
            raise withheld(name, "image", reasons)
        raise AttemptError(f"{name}: the answer has no image", retryable=True)
    image = await decode_media(prediction["bytesBase64Encoded"], is_video=False)
    if image is None:
        raise AttemptError(f"{name}: the data of the image is not an image", retryable=True)
    seed, prompt = body["parameters"].get("seed"), prediction.get("prompt")
    facts = {"seed": seed, "revised_prompt": prompt if isinstance(prompt, str) and prompt else None, "model": model}
    return await store_media(image, attempt, io) | {key: value for key, value in facts.items() if value is not None}


def withheld(name: str, what: str, reasons: Any) -> AttemptError:
    """Return the error for a result that Google's filters withheld, with *reasons* if there are any."""
    text = "; ".join(reason for reason in reasons if isinstance(reason, str)) if isinstance(reasons, list) else ""
    why = f"the filters withheld the {what}" + (f": {text}" if text else "")
    return AttemptError(sanitised(f"{name}: {why}"), retryable=False)


def _candidate(name: str, answer: GenerateContentAnswer) -> Mapping[str, Any]:
    """Return the first candidate. Raises `OutcomeUnknown` if this isn't an answer to generateContent."""
    feedback = answer.prompt_feedback
    reason = feedback.get("blockReason") if isinstance(feedback, Mapping) else None
    if isinstance(reason, str):
        message = feedback.get("blockReasonMessage")
        why = f"the prompt was blocked ({reason})" + (f": {message}" if isinstance(message, str) else "")
        raise AttemptError(sanitised(f"{name}: {why}", _MAX_MESSAGE), retryable=False)
    if isinstance(answer.candidates, list) and answer.candidates and isinstance(answer.candidates[0], Mapping):
        return answer.candidates[0]
    if answer.candidates or not isinstance(answer.usage_metadata, Mapping):
        raise OutcomeUnknown(f"{name}: the answer can't be read")
    raise AttemptError(f"{name}: the answer has no candidates", retryable=True)


def _parts(candidate: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of the answer, without the model's thoughts, which may contain drafts of images."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, Mapping) else None
    return (part for part in objects_in(parts) if not part.get("thought"))


def _texts(candidate: Mapping[str, Any]) -> Iterator[str]:
    for part in _parts(candidate):
        if isinstance(part.get("text"), str):
            yield part["text"]


def _incomplete(name: str, candidate: Mapping[str, Any], reason: Any) -> AttemptError:
    """Return the error for an answer without a complete result."""
    if reason in _COMPLETE or not isinstance(reason, str):
        why = "the answer has no image"
    elif reason == "MAX_TOKENS":
        why = "the answer was cut off at the limit of tokens (MAX_TOKENS)"
    else:
        why = f"the model stopped ({reason})"
    message, text = candidate.get("finishMessage"), "".join(_texts(candidate))
    details = message if isinstance(message, str) and message else text if reason != "MAX_TOKENS" else ""
    return AttemptError(
        sanitised(f"{name}: {why}" + (f": {details}" if details else ""), _MAX_MESSAGE),
        retryable=reason not in _PERMANENT_REASONS,
    )


def _model_and_usage(model: str, answer: GenerateContentAnswer) -> dict[str, Any]:
    version, usage = answer.model_version, answer.usage_metadata
    facts: dict[str, Any] = {"model": version if isinstance(version, str) and version else model}
    if isinstance(usage, Mapping):
        counts = [_count(usage, name) for name in ("candidatesTokenCount", "thoughtsTokenCount")]
        read, total = _count(usage, "promptTokenCount"), _count(usage, "totalTokenCount")
        facts["usage"] = {"input_tokens": read, "output_tokens": sum(counts), "total_tokens": total}
    return facts


def objects_in(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in a list; an empty list for anything else."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _reason(details: Any) -> str:
    """Return the reason in the ErrorInfo of Google's APIs; "" if there is none."""
    for detail in objects_in(details):
        if detail.get("domain") == "googleapis.com":
            return str(detail.get("reason"))
    return ""


def _retry_after_s(details: Any) -> float | None:
    for detail in objects_in(details):
        if isinstance(delay := detail.get("retryDelay"), str) and (match := _DELAY.fullmatch(delay)):
            return min(float(match[1]), MAX_RETRY_AFTER_S)
    return None
