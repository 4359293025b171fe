"""The page of a decision link: what it shows and to whom, what decides and what doesn't, and how links end."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from stepwell.contract.enums import WaitKind
from stepwell.lifecycle.model import Wait
from stepwell.rules.access.signed_urls import DecisionLinks
from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step
from support.service.live_service import SECRET, Service, running_service, step_of
from support.workflows.definitions import join, mapped

FOREIGN = "media/01900000-0000-7000-8000-000000000000/foreign.png"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def service(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(MemoryDatabase(clock), tmp_path, providers=[ConfiguredProvider()]) as service:
        yield service


@pytest.fixture
async def anyone(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local") as client:
        yield client


async def asking(service: Service, *before: dict[str, Any], **ask: Any) -> tuple[dict[str, Any], str]:
    """Create a workflow, and return it with the link of its step `ask` once that waits."""
    step = {"id": "ask", "task_type": "APPROVAL"} | ask
    created = await service.create(*before, step, join("secret-step", config={"x": "secret-value"}), name="secret-name")
    workflow = await service.until(created["id"], lambda shown: step_of(shown, "ask")["waiting_for"] is not None)
    return workflow, await link_of(service, workflow)


async def link_of(service: Service, workflow: dict[str, Any]) -> str:
    shown = (await service.client.get(f"{WORKFLOWS}{workflow['id']}/steps/ask")).json()
    parts = urlsplit(shown["waiting_for"]["decision_url"])
    return f"{parts.path}?{parts.query}"


async def submit(anyone: httpx.AsyncClient, link: str, choice: str, note: str = "") -> httpx.Response:
    return await anyone.post(link, data={"choice": choice, "note": note})


async def ask_of(service: Service, workflow: dict[str, Any]) -> dict[str, Any]:
    return step_of(await service.get(workflow["id"]), "ask")


async def test_the_page_shows_what_is_decided_and_nothing_else_of_the_tenant(
    service: Service, anyone: httpx.AsyncClient
) -> None:
    draw = configured_step("draw", texts={"a.png": "image", "b.mp4": "video", "c.mp3": "sound"})
    pictures = [mapped("draw", "paths[0]", "first"), mapped("draw", "paths", "all")]
    config = {"message": "Print <b>this</b>?", "choices": ["yes & no", "no"], "size": "A4", "foreign": FOREIGN}
    workflow, link = await asking(service, draw, config=config, input_mappings=pictures)
    page = await anyone.get(link)
    assert page.status_code == 200
    assert "Print &lt;b&gt;this&lt;/b&gt;?" in page.text
    assert re.findall(r'name="choice" value="([^"]+)"', page.text) == ["yes &amp; no", "no"]
    assert ("A4" in page.text, "secret" in page.text, workflow["id"] in page.text) == (True, False, False)
    (image,) = re.findall(r'<img src="([^"]+signature[^"]+)"', page.text)
    (video,) = re.findall(r'<video src="([^"]+)"', page.text)
    (sound,) = re.findall(r'<p><a href="([^"]+)"', page.text)
    for url, content in ((image, b"image"), (video, b"video"), (sound, b"sound")):
        assert (await anyone.get(url.replace("&amp;", "&"))).content == content
    assert f"{FOREIGN.split('/')[1]}?" not in page.text  # it has no URL
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Robots-Tag"] == "noindex, nofollow"
    policy = page.headers["Content-Security-Policy"]
    assert ("script-src" in policy, "frame-ancestors 'none'" in policy, "<script" in page.text) == (False, True, False)


async def test_choices_that_are_pictures_of_the_tenant_are_shown(service: Service, anyone: httpx.AsyncClient) -> None:
    first, second = (configured_step(name, texts={"a.png": name, f"{name}.mp4": "v"}) for name in ("first", "second"))
    choices = f"${{[first.paths[0], second.paths[0], first.paths[1], '{FOREIGN}', 'none']}}"
    workflow, link = await asking(service, first, second, config={"choices": choices}, depends_on=["first", "second"])
    pictures = [step_of(workflow, name)["result"]["paths"] for name in ("first", "second")]
    page = await anyone.get(link)
    buttons = re.findall(r'value="([^"]+)">(?:<img src="([^"]+)" alt="([^"]+)">)?([^<]*)</button>', page.text)
    assert [(value, name or text) for value, _, name, text in buttons] == [
        (pictures[0][0], "a.png, 1 of 5"),
        (pictures[1][0], "a.png, 2 of 5"),
        (pictures[0][1], "first.mp4"),
        (FOREIGN, FOREIGN),  # isn't the tenant's
        ("none", "none"),
    ]
    assert [
        f"{path}?" in url for path, (_, url, *_) in zip((*pictures[0][:1], *pictures[1][:1]), buttons, strict=False)
    ] == [
        True,
        True,
    ]
    (decision,) = (await service.client.get("/api/v1/decisions")).json()["decisions"]
    assert [(file["input"], file["path"]) for file in decision["files"]] == [
        ("choices", path) for path in (pictures[0][0], pictures[1][0], pictures[0][1])
    ]
    decided = await submit(anyone, link, pictures[1][0])
    assert "Recorded: a.png." in decided.text


async def test_only_the_form_decides_and_only_once(service: Service, anyone: httpx.AsyncClient) -> None:
    workflow, link = await asking(service)
    for method in ("GET", "HEAD", "GET"):
        opened = await anyone.request(method, link, headers={"Sec-Purpose": "prefetch"})
        assert opened.status_code == 200
    assert (await anyone.get(f"{link}&choice=approve")).status_code == 200
    assert (await anyone.put(link)).status_code == 405
    assert (await submit(anyone, link, "maybe")).status_code == 422
    assert (await submit(anyone, link, "approve", "n" * 2_001)).status_code == 422
    assert (await submit(anyone, link, "reject", "n\x00")).status_code == 422
    assert (await ask_of(service, workflow))["status"] == "RUNNING"
    taken = await submit(anyone, link, "approve", " nice ")
    assert (taken.status_code, "Recorded: approve" in taken.text) == (200, True)
    decided = await ask_of(service, workflow)
    assert {**decided["result"], "at": None} == {
        "choice": "approve",
        "approved": True,
        "note": "nice",
        "data": None,
        "by": "link",
        "at": None,
    }
    for late in (await submit(anyone, link, "reject"), await anyone.get(link)):
        assert (late.status_code, "&#39;approve&#39; was decided at" in late.text) == (410, True)
    late = await service.client.post(f"{WORKFLOWS}{workflow['id']}/steps/ask/decision", json={"choice": "reject"})
    assert late.json()["detail"].startswith("somebody with the decision link decided 'approve' at ")
    assert (await ask_of(service, workflow))["result"] == decided["result"]
    events = await service.events(workflow["id"])
    assert [event["actor"] for event in events if event["type"] == "step.completed" and event["step_id"] == "ask"] == [
        "link"
    ]


async def test_a_link_of_another_wait_or_key_is_no_link(
    service: Service, anyone: httpx.AsyncClient, clock: ManualClock
) -> None:
    workflow, link = await asking(service)
    wait = Wait(UUID(int=7), WaitKind.DECISION, clock.now())
    workflow_id, position = UUID(workflow["id"]), 0
    of_other_wait = urlsplit(DecisionLinks(SECRET.encode(), "http://t.local", 3600).url(workflow_id, position, wait))
    response = await submit(anyone, f"{of_other_wait.path}?{of_other_wait.query}", "approve")
    assert (response.status_code, "waits again after a resume" in response.text) == (410, True)
    of_nothing = urlsplit(DecisionLinks(SECRET.encode(), "http://t.local", 3600).url(UUID(int=1), position, wait))
    assert (await anyone.get(f"{of_nothing.path}?{of_nothing.query}")).status_code == 410
    forged = DecisionLinks(b"another secret, which is long enough", "http://t.local", 3600)
    other_key = urlsplit(forged.url(workflow_id, position, wait))
    changed = link[:-3] + ("A" if link[-3] != "A" else "B") + link[-2:]
    for wrong in (f"{other_key.path}?{other_key.query}", changed, f"{link}A", "/decide", "/decide?signature="):
        for response in (await anyone.get(wrong), await submit(anyone, wrong, "approve")):
            assert (response.status_code, "isn&#39;t valid" in response.text) == (404, True)
    assert (await ask_of(service, workflow))["status"] == "RUNNING"


async def test_a_link_survives_pause_and_resume_and_dies_with_its_wait(
    service: Service, anyone: httpx.AsyncClient
) -> None:
    workflow, link = await asking(service)
    await service.verb(workflow["id"], "pause")
    assert (await anyone.get(link)).status_code == 200
    await service.verb(workflow["id"], "resume")
    assert await link_of(service, workflow) == link
    await service.verb(workflow["id"], "cancel")
    gone = await submit(anyone, link, "approve")
    assert (gone.status_code, "The step is CANCELLED." in gone.text) == (410, True)


@pytest.mark.parametrize("choice", ["approve", "reject"])
async def test_a_link_says_what_was_decided_but_neither_by_whom_nor_why(
    service: Service, anyone: httpx.AsyncClient, choice: str
) -> None:
    workflow, link = await asking(service)
    decision = {"choice": choice, "note": "a secret of ours"}
    path = f"{WORKFLOWS}{workflow['id']}/steps/ask/decision"
    assert (await service.client.post(path, json=decision)).status_code == 200
    late = await anyone.get(link)
    assert (late.status_code, f"&#39;{choice}&#39; was decided at" in late.text) == (410, True)
    assert ("tester" in late.text, "secret" in late.text) == (False, False)


async def test_a_link_ends_with_the_time_of_its_wait(
    service: Service, anyone: httpx.AsyncClient, clock: ManualClock
) -> None:
    _, limited = await asking(service, config={"timeout_s": 86_400 * 3, "on_timeout": "approve"})
    _, unlimited = await asking(service)
    clock.advance(timedelta(days=2).total_seconds())
    assert (await anyone.get(limited)).status_code == 200
    clock.advance(timedelta(days=1, seconds=10).total_seconds())
    assert (await submit(anyone, limited, "approve")).status_code == 410
    clock.advance(timedelta(days=300).total_seconds())
    assert (await submit(anyone, unlimited, "approve")).status_code == 200


async def test_the_uses_of_a_link_are_limited(service: Service, anyone: httpx.AsyncClient, clock: ManualClock) -> None:
    workflow, link = await asking(service)
    responses = [(await anyone.get(link)).status_code for _ in range(31)]
    assert responses == [200] * 30 + [429]
    refused = await submit(anyone, link, "approve")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert (await ask_of(service, workflow))["status"] == "RUNNING"
    clock.advance(2)
    assert (await submit(anyone, link, "approve")).status_code == 200
    # Forged links use up what the address has.
    statuses = [(await anyone.get("/decide?signature=x")).status_code for _ in range(60)]
    assert set(statuses) == {404, 429}
