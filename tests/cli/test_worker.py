"""`stepwell worker`, and the settings of workers: what is refused, in one line, without secrets."""

import socket
import ssl
from pathlib import Path

import pytest
from celery import Celery

from stepwell.basics.setting_values import TaskQueues
from stepwell.cli import worker as cli_worker
from stepwell.cli.errors import Refused
from stepwell.providers.celery.configuration import worker_configuration
from stepwell.settings import InvalidSettings
from support.processes.stepwell_process import stepwell
from support.service.installed_settings import read_settings

BROKER, BACKEND = "STEPWELL_CELERY_BROKER_URL", "STEPWELL_CELERY_RESULT_BACKEND"
CELERY = {"STEPWELL_EXECUTOR": "celery"}
UNREADABLE = "Expected a URL without a password in its query; write special characters of a password as %XX"


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (CELERY, f"{BROKER}: Expected the URL of the broker, because STEPWELL_EXECUTOR is celery"),
        (
            CELERY | {BROKER: "amqp://user:canary@host//"},
            f"{BACKEND}: Expected the URL of a Redis, because the broker isn't one",
        ),
        ({BROKER: "canary://host"}, f"{BROKER}: Expected redis://, rediss://, amqp:// or amqps://"),
        ({BACKEND: "amqp://canary"}, f"{BACKEND}: Expected redis:// or rediss://"),
        ({BROKER: "redis://:can/ary@host"}, f"{BROKER}: {UNREADABLE}"),
        ({BROKER: "amqp://one;amqp://user:can#ary@host"}, f"{BROKER}: {UNREADABLE}"),
        ({BACKEND: "redis://host/0?password=canary"}, f"{BACKEND}: {UNREADABLE}"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line_without_its_value(environ: dict[str, str], line: str) -> None:
    with pytest.raises(InvalidSettings) as refusal:
        read_settings(environ)
    assert refusal.value.lines == [line]


@pytest.mark.parametrize(("query", "checks"), [("", ssl.CERT_REQUIRED), ("?ssl_cert_reqs=none", ssl.CERT_NONE)])
def test_the_certificate_of_the_result_backend_is_checked_unless_its_url_says_otherwise(
    query: str, checks: ssl.VerifyMode
) -> None:
    url = f"rediss://:p%40ss@host/0{query}"
    app = Celery("test", set_as_current=False)
    app.conf.update(worker_configuration(url, url))
    assert app.backend.connparams["ssl_cert_reqs"] is checks


def test_the_broker_is_the_result_backend_if_it_is_a_redis() -> None:
    assert read_settings({BROKER: "redis://host/0"}).result_backend == "redis://host/0"
    assert read_settings({BROKER: "amqp://host"}).result_backend is None
    assert read_settings({BROKER: "amqp://host", BACKEND: "redis://host/1"}).result_backend == "redis://host/1"


def test_a_worker_takes_all_queues_by_default() -> None:
    assert TaskQueues.read('{"GENERATION": "gpu", "*": "cpu"}').names == ["cpu", "gpu"]
    assert TaskQueues().names == ["stepwell"]


def test_a_worker_without_a_broker_ends_with_one_line() -> None:
    ended = stepwell("worker")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"stepwell: {BROKER}: Expected the URL of the broker, because STEPWELL_EXECUTOR is celery"
    ]


def test_a_worker_without_an_artifact_store_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environ = {BROKER: "redis://127.0.0.1:1", "STEPWELL_ARTIFACT_DIR": str(tmp_path / "file")}
    ended = stepwell("worker", env=environ)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"stepwell: cannot use the artifact folder {tmp_path / 'file'}")


def test_a_worker_whose_bucket_does_not_respond_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_worker, "_STORAGE_S", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = read_settings(
            {
                BROKER: "redis://127.0.0.1:1",
                "STEPWELL_DATA_DIR": str(tmp_path),
                "STEPWELL_S3_BUCKET": "pictures",
                "STEPWELL_S3_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "STEPWELL_S3_REGION": "us-east-1",
                "STEPWELL_S3_ACCESS_KEY_ID": "key",
                "STEPWELL_S3_SECRET_ACCESS_KEY": "secret",
            },
            executor="celery",
        )
        with pytest.raises(Refused, match=r"the artifact store didn't respond within 0.1 s"):
            cli_worker.worker(settings, concurrency=1, queues=None)
