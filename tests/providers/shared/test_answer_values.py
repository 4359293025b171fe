"""An answer of a provider with more JSON values than a body may have isn't decoded, however it came."""

import httpx
import pytest

from stepwell.basics.errors import OutcomeUnknown
from stepwell.basics.strict_json.size import MAX_VALUES
from stepwell.providers.shared.provider_api import AnswerTooBig, ApiAnswer, ProviderApi

URL = "http://provider.test/jobs"
MANY = b'{"data":[' + b"{}," * MAX_VALUES + b"{}]}"
LONG = b'{"data":"' + b"[{,:" * MAX_VALUES + b'"}'


def api(body: bytes) -> ProviderApi:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(body)))
    return ProviderApi(httpx.AsyncClient(transport=transport), "P", lambda _: None)


async def test_an_answer_of_too_many_values_is_refused() -> None:
    with pytest.raises(AnswerTooBig):
        await api(MANY).call("GET", URL, {}, ok=frozenset({200}))
    with pytest.raises(OutcomeUnknown):
        await api(MANY).submit(URL, b"{}", {}, dict)


async def test_a_long_string_is_one_value() -> None:
    answer = await api(LONG).call("GET", URL, {}, ok=frozenset({200}))
    assert answer == ApiAnswer(200, answer.headers, LONG)
    assert (await api(LONG).submit(URL, b"{}", {}, dict))[1].keys() == {"data"}
