"""The sign-in to the web page from the command line: `open`, `sign-out-all`, and the URL that `up` prints."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from msgspec import json

from stepwell.contract.scopes import ALL_TENANTS, Permission
from support.processes.command_line import CommandLine
from support.processes.stepwell_process import StepwellProcess, stepwell, surroundings
from support.processes.terminal import Terminal
from support.workflows.image_pipelines import pipeline

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
TYPED = {"Sec-Fetch-Site": "none"}


@pytest.fixture
def shell(
    up: StepwellProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """A user on the machine of a `stepwell up`, who may read its data folder."""
    user = CommandLine(tmp_path, monkeypatch, capsys)
    user.export(STEPWELL_DATA_DIR=str(up.data_dir))
    return user


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    """A client that stores cookies, and doesn't follow redirects."""
    with httpx.Client(timeout=30) as client:
        yield client


def page_after_sign_in(browser: httpx.Client, url: str) -> str:
    """Open a one-time URL. Return the path of the page that the service opens then."""
    response = browser.get(url, headers=TYPED)
    assert response.status_code == 303, response.text
    assert [*browser.cookies] == [f"stepwell-session-{httpx.URL(url).port}"]
    return response.headers["location"]


def submit(shell: CommandLine) -> str:
    done = shell("submit", "-", "--no-start", stdin=json.encode(pipeline()).decode())
    assert done.code == 0, done.err
    return done.out.split()[0]


def test_open_prints_a_url_that_signs_in_once(shell: CommandLine, up: StepwellProcess, browser: httpx.Client) -> None:
    printed = shell("open", "--print")
    assert (printed.code, printed.err) == (0, "")
    url = printed.out.strip()
    assert url.startswith(f"{up.url}/ui/sign-in?code=")
    assert page_after_sign_in(browser, url) == "/ui"
    response = browser.get(f"{up.url}/api/v1/workflows", headers=SAME_ORIGIN)
    assert response.status_code == 200
    shown = browser.get(f"{up.url}/ui").text
    scopes = [*sorted(Permission), ALL_TENANTS]
    assert f'data-scopes="{" ".join(sorted(scopes))}"' in shown
    assert browser.get(url, headers=TYPED).status_code == 403
    as_json = shell("open", "--print", "--json").json
    assert as_json["signs_in"] is True
    assert as_json["url"] != url


def test_open_opens_the_page_of_a_run(shell: CommandLine, browser: httpx.Client) -> None:
    workflow_id = submit(shell)
    for name in (workflow_id, workflow_id[-8:], "@last"):
        printed = shell("open", name, "--print")
        assert page_after_sign_in(browser, printed.out.strip()) == f"/ui/workflows/{workflow_id}"
    assert shell("open", "ffffffff", "--print").code == 4


def test_open_gives_the_url_to_the_browser_alone(up: StepwellProcess, tmp_path: Path, browser: httpx.Client) -> None:
    program, opened = tmp_path / "browser", tmp_path / "opened"
    program.write_text(f"#!/bin/sh\nprintf %s \"$1\" > '{opened}'\n")
    program.chmod(0o700)
    env = {"STEPWELL_DATA_DIR": str(up.data_dir), "BROWSER": str(program)}
    done = stepwell("open", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"opened {up.url}/ui\n", "")
    assert page_after_sign_in(browser, opened.read_text()) == "/ui"


def test_without_a_browser_open_says_what_to_do(shell: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    done = shell("open")
    assert (done.code, done.out) == (2, "")
    assert done.err == "stepwell: there is no browser here: --print prints the URL for another one\n"


def test_open_of_a_service_elsewhere_opens_the_plain_page(shell: CommandLine, up: StepwellProcess) -> None:
    for arguments in (("--url", up.url), ("--url", up.url, "--token", up.token)):
        assert shell("open", "--print", *arguments).out == f"{up.url}/ui\n"
    shell.export(STEPWELL_URL="https://stepwell.example.com", STEPWELL_TOKEN="x")
    assert shell("open", "--print", "--json").json == {"url": "https://stepwell.example.com/ui", "signs_in": False}


def test_open_makes_urls_for_the_token_that_it_is_given(
    shell: CommandLine, up: StepwellProcess, browser: httpx.Client
) -> None:
    own = shell("token", "--tenant", "acme", "--scope", "workflows:read").out.strip()
    printed = shell("open", "--print", "--token", own)
    assert page_after_sign_in(browser, printed.out.strip()) == "/ui"
    text = browser.get(f"{up.url}/ui").text
    assert 'data-scopes="workflows:read"' in text
    assert 'data-tenant="acme"' in text
    refused = shell("open", "--print", "--token", "wrong")
    assert refused.code == 5
    assert "it responds with 401: The token is malformed" in refused.err


def test_only_a_token_makes_sign_in_urls(shell: CommandLine, up: StepwellProcess, browser: httpx.Client) -> None:
    page_after_sign_in(browser, shell("open", "--print").out.strip())
    path = f"{up.url}/ui/sign-in/urls"
    assert browser.post(path, headers=SAME_ORIGIN).status_code == 401
    made = browser.post(path, headers={"Authorization": f"Bearer {up.token}"})
    assert made.status_code == 201
    assert made.json()["path"].startswith("/ui/sign-in?code=")
    assert "no-store" in made.headers["cache-control"]
    assert browser.get(path).status_code == 405


def test_sign_out_all_ends_sessions_and_urls_beside_an_up(
    shell: CommandLine, up: StepwellProcess, browser: httpx.Client
) -> None:
    page_after_sign_in(browser, shell("open", "--print").out.strip())
    unused = shell("open", "--print").out.strip()
    done = shell("sign-out-all")
    assert (done.code, done.err) == (0, "")
    assert done.out == "All sessions and sign-in URLs have ended. A running service notices it within 5 seconds.\n"
    response = browser.get(unused, headers=TYPED)
    assert (response.status_code, "All sessions were ended" in response.text) == (403, True)
    with httpx.Client(timeout=30) as other:
        page_after_sign_in(other, shell("open", "--print").out.strip())
        assert other.get(f"{up.url}/ui").status_code == 200
    with up.client() as program:
        assert program.get("/api/v1/workflows").status_code == 200  # tokens stay valid


async def test_sign_out_all_works_on_a_configured_database(dsn: str, sql: asyncpg.Connection) -> None:
    done = stepwell("sign-out-all", env={"STEPWELL_DATABASE_URL": dsn})
    assert (done.returncode, done.stderr) == (0, "")
    assert await sql.fetchval("SELECT sessions_ended_at < clock_timestamp() FROM installation")


def test_sign_out_all_says_what_is_wrong(shell: CommandLine) -> None:
    folder = shell.home / "nothing"
    done = shell("sign-out-all", "--data-dir", folder)
    assert (done.code, done.err) == (1, f"stepwell: there is no database in {folder}\n")
    shell.export(STEPWELL_DATABASE_URL="mysql://x")
    done = shell("sign-out-all")
    assert (done.code, "STEPWELL_DATABASE_URL: Expected" in done.err) == (2, True)


def test_on_a_terminal_up_prints_a_url_that_signs_in_once(browser: httpx.Client, migrated_dir: Path) -> None:
    command = [sys.executable, "-m", "stepwell", "up", "--port", "0", "--data-dir", str(migrated_dir)]
    terminal = Terminal(command, surroundings({"TERM": "xterm"}), migrated_dir.parent)
    try:
        line = terminal.read_line("?code=")
        assert re.fullmatch(r"Sign in to the web page \(once\): http://127\.0\.0\.1:\d+/ui/sign-in\?code=\S+", line)
        url = line.split()[-1]
        assert page_after_sign_in(browser, url) == "/ui"
        assert browser.get(url, headers=TYPED).status_code == 403
        token = (migrated_dir / "token").read_text().strip()
        *_, ready, labelled = terminal.output.decode().partition(line)[0].splitlines()
        assert ready.startswith("Stepwell is ready on http://127.0.0.1:")
        assert labelled == f"Token: {token}"
        terminal.type("\x03")
        terminal.read_to_end()
    finally:
        terminal.close()
    # The database is there, and nobody runs it.
    done = stepwell("sign-out-all", "--data-dir", migrated_dir)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_terminal_up_prints_neither_the_token_nor_the_url(up: StepwellProcess) -> None:
    assert "code=" not in up.stdout + up.stderr
    assert up.token not in up.stdout + up.stderr
