"""`stepwell run` beside a `stepwell up` of the same folder: that `up` runs the definition, exactly once."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stepwell.cli import handover
from stepwell.cli.data_folder import UP, open_folder, publish_address
from stepwell.cli.errors import Refused
from stepwell.cli.handover import UpEnded, hand_over
from stepwell.cli.postgres import claim_folder
from stepwell.settings import Settings
from support.processes.held_image import ALLOWED, HeldImage
from support.processes.stepwell_process import READY_S, StepwellProcess, running_up, start, start_up, stepwell, until
from support.service.response_dropping_proxy import first_response_lost
from support.workflows.image_pipelines import get, pipeline, until_ended
from support.workflows.sub_workflows import runs

SECRET = "a configured secret that is long enough"


@contextmanager
def running_file(data_dir: Path, image: HeldImage) -> Iterator[StepwellProcess]:
    """A `stepwell run` that waits for the image."""
    file = data_dir.parent / "pipeline.json"
    file.write_text(json.dumps(pipeline(steps=image.steps)))
    run = start("run", data_dir, ALLOWED, str(file), "--data-dir", str(data_dir), port=False)
    try:
        until(lambda: "refine: started" in run.stderr, READY_S, lambda: run.stderr)
        yield run
    finally:
        run.process.kill()
        run.process.wait()


def test_run_prints_the_same_beside_an_up_as_alone(up: StepwellProcess) -> None:
    done = stepwell("run", "-", "--data-dir", up.data_dir, stdin=json.dumps(pipeline(64)))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert list(said) == ["workflow_id", "status", "result", "errors", "files"]
    assert (said["status"], said["errors"]) == ("COMPLETED", [])
    assert [Path(path).is_file() for path in said["files"]] == [True, True]
    assert said["files"][-1] == f"{up.data_dir}/artifacts/{said['result']['result_image_path']}"
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        f"stepwell: handed over to the `stepwell up` at {up.url}: workflow {said['workflow_id']}",
        "stepwell: generate: started",
        "stepwell: generate: completed",
        "stepwell: refine: started",
        "stepwell: refine: completed",
    ]
    with up.client() as client:
        assert get(client, said["workflow_id"])["status"] == "COMPLETED"


def test_the_files_of_sub_workflows_are_printed_beside_an_up_and_alone(up: StepwellProcess, migrated_dir: Path) -> None:
    definition = json.dumps(pipeline(steps=[runs(*pipeline(16)["steps"], for_each={"count": 2})]))
    for folder in (up.data_dir, migrated_dir):
        done = stepwell("run", "-", "--data-dir", folder, stdin=definition)
        assert done.returncode == 0, done.stderr
        files = json.loads(done.stdout)["files"]
        assert len(files) == 4
        assert all(Path(path).is_file() for path in files)


def test_a_workflow_that_fails_in_the_up_is_exit_code_1(up: StepwellProcess) -> None:
    steps = [{"id": "a", "task_type": "REFINE", "config": {"base_image_url": "data:image/png;base64,AAAA"}}]
    failed = stepwell("run", "-", "--data-dir", up.data_dir, stdin=json.dumps(pipeline(steps=steps)))
    assert failed.returncode == 1
    said = json.loads(failed.stdout)
    assert (said["status"], said["result"], said["files"]) == ("FAILED", None, [])
    assert failed.stderr.splitlines()[-1] == f"stepwell: {said['errors'][0]}"


@pytest.mark.parametrize("member", ["width", pytest.param("name", marks=pytest.mark.extended)])
def test_an_invalid_definition_is_refused_as_if_it_were_alone(
    member: str, up: StepwellProcess, migrated_dir: Path
) -> None:
    broken = pipeline()
    broken["steps"][1]["depends_on"] = ["nowhere"]
    if member == "width":
        broken["steps"][0]["config"]["width"] = "wide"
    else:
        del broken["name"]
    beside, alone = (
        stepwell("run", "-", "--data-dir", folder, stdin=json.dumps(broken)) for folder in (up.data_dir, migrated_dir)
    )
    assert beside.returncode == alone.returncode == 3
    assert beside.stdout == alone.stdout == ""
    assert beside.stderr == alone.stderr
    assert len(beside.stderr.splitlines()) == 3


def test_files_outside_of_the_data_folder_are_printed_as_urls(migrated_dir: Path, tmp_path: Path) -> None:
    """The settings of the `up`, its key too, need not be in the environment of the `run`."""
    env = {"STEPWELL_ARTIFACT_DIR": str(tmp_path), "STEPWELL_JWT_SECRET": SECRET}
    with running_up(migrated_dir, env) as up, up.client() as client:
        done = stepwell("run", "-", "--data-dir", migrated_dir, stdin=json.dumps(pipeline(64)))
        assert done.returncode == 0, done.stderr
        files = json.loads(done.stdout)["files"]
        assert [url.startswith(f"{up.url}/api/v1/artifacts/media/") for url in files] == [True, True]
        assert [client.get(url).status_code for url in files] == [200, 200]


def test_run_waits_for_an_up_that_is_starting(migrated_dir: Path) -> None:
    up = start_up(migrated_dir)
    try:
        owner = migrated_dir / "postgres/owner.lock"
        until(lambda: owner.exists() and owner.read_text().endswith(" up\n"), 60, lambda: up.stderr)
        done = stepwell("run", "-", "--data-dir", migrated_dir, stdin=json.dumps(pipeline(64)), within_s=240)
        assert done.returncode == 0, done.stderr
        assert "handed over to the `stepwell up`" in done.stderr
        assert up.wait_ready().terminate() == 0
    finally:
        up.kill_group()


def test_run_works_alone_after_an_up_was_killed(migrated_dir: Path) -> None:
    with running_up(migrated_dir) as up:
        up.kill()
    assert (migrated_dir / "address").exists()
    done = stepwell("run", "-", "--data-dir", migrated_dir, stdin=json.dumps(pipeline(64)))
    assert done.returncode == 0, done.stderr
    assert "handed over" not in done.stderr
    assert not (migrated_dir / "address").exists()


def test_run_beside_another_run_is_refused_with_advice(migrated_dir: Path, image: HeldImage) -> None:
    with running_file(migrated_dir, image) as first:
        refused = stepwell("run", "-", "--data-dir", migrated_dir, stdin=json.dumps(pipeline()))
        assert refused.returncode == 1
        assert refused.stderr == (
            f"stepwell: {migrated_dir}/postgres is in use by process {first.pid} (stepwell run): "
            "wait until it ends, or use `stepwell up`, which runs many\n"
        )
        first.kill_group()


def test_ctrl_c_ends_the_run_and_not_the_workflow(up: StepwellProcess, image: HeldImage) -> None:
    with running_file(up.data_dir, image) as run:
        assert run.terminate(signal.SIGINT) == 130
    assert run.stdout == ""
    last = run.stderr.splitlines()[-1]
    workflow_id = last.split()[-1]
    assert last == f"stepwell: stopped following: it continues workflow {workflow_id}"
    image.release()
    with up.client() as client:
        assert until_ended(client, workflow_id)["status"] == "COMPLETED"


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.extended), signal.SIGKILL])
def test_run_reports_an_up_that_ends_before_the_workflow(
    number: signal.Signals, migrated_dir: Path, image: HeldImage
) -> None:
    with running_up(migrated_dir, ALLOWED | {"STEPWELL_GRACE_S": "1"}) as up, running_file(migrated_dir, image) as run:
        up.process.send_signal(number)
        up.wait()
        assert run.wait() == 5
    assert run.stdout == ""
    last = run.stderr.splitlines()[-1]
    workflow_id = last.split()[-1]
    assert last == (
        f"stepwell: the `stepwell up` on {migrated_dir} has ended: "
        f"the next start on {migrated_dir} continues workflow {workflow_id}"
    )
    image.release()
    with running_up(migrated_dir, ALLOWED) as up, up.client() as client:
        assert until_ended(client, workflow_id)["status"] == "COMPLETED"


def test_a_lost_response_to_the_create_makes_no_second_workflow(up: StepwellProcess) -> None:
    address = up.data_dir / "address"
    mine = pipeline(64, name="created twice")
    with first_response_lost(up.url, "POST /api/v1/workflows/") as cut_off:
        address.write_text(cut_off.url)
        try:
            done = stepwell("run", "-", "--data-dir", up.data_dir, stdin=json.dumps(mine))
        finally:
            address.write_text(f"{up.url}\n")
    assert done.returncode == 0, done.stderr
    assert cut_off.lost == 1
    with up.client() as client:
        listed = client.get("/api/v1/workflows/", params={"limit": 100}).json()["workflows"]
    assert [each["name"] for each in listed].count("created twice") == 1


def test_run_uses_another_token_than_one_that_the_up_refuses(up: StepwellProcess) -> None:
    token = up.token
    (up.data_dir / "token").write_text("one.that.expired\n")
    try:
        done = stepwell("run", "-", "--data-dir", up.data_dir, stdin=json.dumps(pipeline(64)))
    finally:
        (up.data_dir / "token").write_text(f"{token}\n")
    assert done.returncode == 0, done.stderr


def test_run_is_refused_if_the_up_accepts_no_token_of_the_folder(migrated_dir: Path) -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    env = {"STEPWELL_JWT_PUBLIC_KEY": pem, "STEPWELL_JWT_ALGORITHM": "ES256"}
    with running_up(migrated_dir, env) as up:
        for mine in ({}, env):
            refused = stepwell("run", "-", "--data-dir", migrated_dir, stdin=json.dumps(pipeline()), env=mine)
            assert refused.returncode == 3
            assert refused.stderr == (
                f"stepwell: the `stepwell up` at {up.url} accepts no token that {migrated_dir} offers, "
                "because it verifies tokens with another key: use `stepwell submit` with a token of yours\n"
            )


@contextmanager
def claim_as_up(data_dir: Path, address: str) -> Iterator[Settings]:
    """Claim the folder as an `up` that listens at *address* does."""
    settings = Settings(data_dir=data_dir)
    open_folder(data_dir)
    with claim_folder(settings, UP), publish_address(data_dir, address):
        yield settings


async def test_run_gives_up_on_an_up_that_never_responds(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_START_S", 0.2)
    address = f"http://127.0.0.1:{_closed_port()}"
    with claim_as_up(data_dir, address) as settings, pytest.raises(Refused) as refused:
        await hand_over(settings, b"{}")
    assert refused.value.lines == (f"the `stepwell up` at {address} doesn't respond: nothing was sent to it",)


async def test_run_reports_why_an_up_accepts_no_work(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body = b'{"detail": "the disk is full"}'
    head = b"HTTP/1.1 507 Insufficient Storage\r\nRetry-After: 5\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head % len(body) + body)
        writer.close()

    monkeypatch.setattr(handover, "_START_S", 0.2)
    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with claim_as_up(data_dir, address) as settings, pytest.raises(Refused) as refused:
            await hand_over(settings, b"{}")
    why = "507: the disk is full"
    assert (
        capsys.readouterr().err == f"stepwell: waiting for the `stepwell up` on {data_dir}, which responds with {why}\n"
    )
    assert refused.value.lines == (f"the `stepwell up` at {address} still responds with {why}: nothing was sent to it",)


async def test_an_up_that_ends_before_it_is_ready_leaves_the_definition_to_the_run(data_dir: Path) -> None:
    with claim_as_up(data_dir, f"http://127.0.0.1:{_closed_port()}") as settings:
        waiting = asyncio.ensure_future(hand_over(settings, b"{}"))
        await asyncio.sleep(0)
        assert not waiting.done()
    with pytest.raises(UpEnded):
        async with asyncio.timeout(30):
            await waiting


async def test_an_up_that_ends_before_it_has_responded_may_have_created_the_workflow(data_dir: Path) -> None:
    posted = asyncio.Event()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readuntil(b"\r\n\r\n")).startswith(b"POST "):
            posted.set()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with claim_as_up(data_dir, f"http://127.0.0.1:{port}") as settings:
            waiting = asyncio.ensure_future(hand_over(settings, b"{}"))
            async with asyncio.timeout(30):
                await posted.wait()
        with pytest.raises(Refused) as refused:
            async with asyncio.timeout(30):
                await waiting
    assert str(refused.value) == (
        f"the `stepwell up` on {data_dir} has ended: it may have created the workflow without responding; "
        f"if so, the next start on {data_dir} continues it"
    )


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
