"""OPENAI: no URL in a step is sent to a server in the operator's own network."""

from typing import Any

import pytest
from PIL import Image

from providers.attempts import attempt
from providers.image_files import file_of
from providers.openai.openai_cases import BASE, OTHER, PUBLIC, files, io_of, offline
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import Blob
from stepwell.providers.openai.provider import OpenAiProvider
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.refusals import MAX_IMAGES

WEB, VIDEO = "https://a.example/b", "http://a.example/film"
DATA = "data:image/png;base64,aGVsbG8="
CHAT = TaskType.LLM_INTERACTION


async def request_body(
    task_type: TaskType = CHAT, config: Any = None, *, url: str = OTHER, **inputs: Any
) -> dict[str, Any]:
    """What is sent where the web has two files."""
    io = io_of(public=True)
    io.inputs |= {WEB: Blob(file_of(Image.new("RGB", (2, 2))), ""), VIDEO: Blob(b"film", "video/mp4")}
    async with offline() as client:
        provider = OpenAiProvider(client, Credentials({"openai": "sk-x"}), url=url)
        request = await provider.prepare(attempt(task_type, {"model": "m"} | (config or {}), **inputs), io)
    return dict(request.body)


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


async def test_another_server_gets_images_instead_of_urls() -> None:
    (message,) = (await request_body(prompt="what?", image_urls=[WEB, DATA, BASE]))["messages"]
    web, data, base = [part["image_url"]["url"] for part in message["content"][1:]]
    assert web.startswith("data:image/png;base64,")
    assert (data, base) == (DATA, f"https://stepwell.example/{BASE}?signature=1")


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "image_url", "image_url": {"url": WEB, "detail": "low"}}, ("image_url", "url")),
        ({"type": "image_url", "image_url": WEB}, ("image_url",)),
        ({"image_url": {"url": WEB}}, ("image_url", "url")),
        ({"type": "image", "image": WEB}, ("image",)),
        ({"type": "text", "text": "x", "image_url": WEB}, ("image_url",)),
        ({"type": "video_url", "video_url": {"url": VIDEO}}, ("video_url", "url")),
        ({"type": "video", "video": [VIDEO]}, ("video", 0)),
    ],
)
async def test_another_server_gets_images_instead_of_urls_in_messages(part: Any, path: tuple[Any, ...]) -> None:
    (message,) = (await request_body(messages=user({"type": "text", "text": WEB}, part)))["messages"]
    text, found = message["content"]
    assert text == {"type": "text", "text": WEB}
    assert found.keys() == part.keys()
    for step in path:
        found = found[step]
    assert found.startswith("data:image/png;base64," if WEB in str(part) else "data:video/mp4;base64,")


@pytest.mark.parametrize("url", ["http://169.254.169.254/x", "HTTP://10.0.0.1", " http://10.0.0.1", "file:///etc", "x"])
async def test_a_url_that_the_guard_refuses_is_not_sent(url: str) -> None:
    with pytest.raises(AttemptError, match=r"messages\[0\]\.content\[0\]\.image_url: artifact not found"):
        await request_body(messages=user({"type": "image_url", "image_url": {"url": url}}))
    with pytest.raises(AttemptError, match=r"image_urls\[0\]: artifact not found"):
        await request_body(prompt="x", image_urls=[url])


@pytest.mark.parametrize("value", [WEB, [WEB], {"url": WEB}, {"image": [WEB]}, "\th\nttp://x", "ftp://x"], ids=str)
async def test_another_server_gets_no_url_in_an_unknown_member(value: Any) -> None:
    for task_type, config, inputs in (
        (CHAT, {"parameters": {"extra": value}}, {}),
        (CHAT, None, {"extra": value}),
        (TaskType.GENERATION, {"parameters": {"extra": value}}, {}),
        (TaskType.VIDEO_GENERATION, None, {"extra": value, "base_image_url": BASE}),
    ):
        with pytest.raises(AttemptError, match="extra: a server other than OpenAI's own gets no URLs"):
            await request_body(task_type, config, prompt="x", **inputs)


async def test_openai_gets_the_urls_themselves() -> None:
    messages = user({"type": "image_url", "image_url": {"url": WEB}}, {"type": "image_url", "image_url": {"url": BASE}})
    body = await request_body(url=PUBLIC, messages=messages, image_urls=[WEB], extra=WEB)
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"]]
    assert urls == [WEB, f"https://stepwell.example/{BASE}?signature=1", WEB]
    assert body["extra"] == WEB


@pytest.mark.parametrize("url", [PUBLIC, OTHER])
async def test_messages_may_contain_64_images_and_no_more(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": DATA}}
    assert (
        len((await request_body(url=url, messages=user(*[part] * MAX_IMAGES)))["messages"][0]["content"]) == MAX_IMAGES
    )
    with pytest.raises(AttemptError, match="messages: expected 64 images at most"):
        await request_body(url=url, messages=user(*[part] * MAX_IMAGES, part))


def test_the_urls_of_the_cases_are_not_artifacts() -> None:
    assert not {WEB, VIDEO, DATA} & files().keys()
