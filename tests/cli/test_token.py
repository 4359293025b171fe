"""`stepwell token`: what it signs opens exactly what it says; `openapi` prints what is served."""

import json
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from stepwell.cli.commands import run
from support.processes.source_tree import TOP
from support.processes.stepwell_process import StepwellProcess, stepwell
from support.workflows.image_pipelines import create, pipeline

SECRET = "a configured secret that is long enough"


def make(data_dir: Path, *options: str, **env: str) -> str:
    process = stepwell("token", "--data-dir", data_dir, *options, env=env)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout.removesuffix("\n")


def holder(up: StepwellProcess, *options: str) -> httpx.Client:
    token = make(up.data_dir, *options)
    return httpx.Client(base_url=up.url, headers={"Authorization": f"Bearer {token}"})


def test_a_token_opens_what_its_options_name(up: StepwellProcess) -> None:
    with (
        holder(up, "--tenant", "acme") as acme,
        holder(up, "--tenant", "other") as other,
        holder(up, "--all-tenants", "--scope", "workflows:read") as reader,
    ):
        workflow = create(acme)
        path = f"/api/v1/workflows/{workflow}"
        assert acme.get(path).json()["origin_tenant_id"] == "acme"
        assert other.get(path).status_code == 404
        assert reader.get(path).status_code == 200
        assert reader.post("/api/v1/workflows/", json=pipeline()).status_code == 403


def test_the_instance_of_a_definition_is_the_tokens_or_the_one_of_up(up: StepwellProcess) -> None:
    definition = pipeline()
    del definition["origin_instance"]
    with holder(up, "--origin-instance", "shop") as shop, holder(up) as other:
        created = [client.post("/api/v1/workflows/", json=definition) for client in (shop, other)]
    assert [each.json()["origin_instance"] for each in created] == ["shop", "local"]


def test_a_token_without_options_equals_the_one_that_up_writes(up: StepwellProcess) -> None:
    written = _claims(up.token, _secret(up))
    printed = _claims(make(up.data_dir), _secret(up))
    assert printed["exp"] - printed["iat"] == written["exp"] - written["iat"] == 30 * 24 * 3600
    for name in ("iss", "aud", "scope"):
        assert printed[name] == written[name]
    assert "tenant_id" not in printed
    with holder(up, "--scope", "workflows:read") as reader, holder(up, "--tenant", "acme") as acme:
        assert reader.get(f"/api/v1/workflows/{create(acme)}").status_code == 200
        assert reader.post("/api/v1/workflows/", json=pipeline()).status_code == 403


def test_the_options_become_claims(up: StepwellProcess) -> None:
    claims = _claims(make(up.data_dir, "--all-tenants", "--expires", "12h", "--subject", "ci"), _secret(up))
    assert claims["exp"] - claims["iat"] == 12 * 3600
    assert (claims["sub"], claims["scope"]) == (
        "ci",
        "workflows:read workflows:write definitions:read definitions:write tenants:all",
    )
    claims = _claims(make(up.data_dir, "--tenant", "t", "--scope", "workflows:write", "--expires", "90"), _secret(up))
    assert (claims["tenant_id"], claims["scope"]) == ("t", "workflows:write")
    assert claims["exp"] - claims["iat"] == 90
    assert "definitions" not in claims
    run = ("--scope", "definitions:run", "--definition", "photo-set", "--definition", "cards")
    for more, tenant in (((), None), (("--tenant", "t"), "t")):
        claims = _claims(make(up.data_dir, *run, *more), _secret(up))
        assert (claims["scope"], claims.get("tenant_id")) == ("definitions:run", tenant)
        assert claims["definitions"] == ["photo-set", "cards"]


def test_a_token_expires_in_30_days_or_after_the_longest_lifetime_that_is_allowed(tmp_path: Path) -> None:
    for longest, expected in (("34560000", 30 * 86_400), ("86400", 86_400)):
        token = make(tmp_path, "--all-tenants", STEPWELL_JWT_SECRET=SECRET, STEPWELL_JWT_MAX_LIFETIME_S=longest)
        claims = _claims(token, SECRET)
        assert claims["exp"] - claims["iat"] == expected
    token = make(tmp_path, "--all-tenants", "--expires", "400d", STEPWELL_JWT_SECRET=SECRET)
    claims = _claims(token, SECRET)
    assert claims["exp"] - claims["iat"] == 400 * 86_400


def test_a_configured_secret_takes_precedence(up: StepwellProcess, tmp_path: Path) -> None:
    for folder in (up.data_dir, tmp_path):
        token = make(folder, "--all-tenants", STEPWELL_JWT_SECRET=SECRET, STEPWELL_JWT_ISSUER="us")
        assert _claims(token, SECRET)["iss"] == "us"


@pytest.mark.parametrize(
    ("options", "env", "code", "said"),
    [
        ([], {}, 2, "STEPWELL_JWT_SECRET is set, so the token needs --tenant NAME or"),
        ([], {}, 1, "there is no secret in"),
        (["--tenant", "a", "--all-tenants"], {}, 2, "either --tenant or --all-tenants"),
        (["--tenant", ""], {}, 2, "--tenant: Expected 1 to 100 characters"),
        (["--tenant", "a\tb"], {}, 2, "--tenant: Expected"),
        (["--all-tenants", "--origin-instance", ""], {}, 2, "--origin-instance: Expected 1 to 100 characters"),
        (["--all-tenants", "--scope", "workflows:all"], {}, 2, "--scope: Expected one of"),
        (["--all-tenants", "--scope", "tenants:all"], {}, 2, "--all-tenants gives"),
        (["--all-tenants", "--scope", "definitions:run"], {}, 2, "--scope definitions:run with one --definition NAME"),
        (["--all-tenants", "--definition", "photo-set"], {}, 2, "--scope definitions:run with one --definition NAME"),
        (["--all-tenants", "--expires", "0"], {}, 2, "--expires: Expected"),
        (["--all-tenants", "--expires", "d"], {}, 2, "--expires: Expected"),
        (["--all-tenants", "--expires", "\u0661d"], {}, 2, "--expires: Expected"),
        (
            ["--all-tenants", "--expires", "34560001"],
            {},
            2,
            "--expires: STEPWELL_JWT_MAX_LIFETIME_S allows 34560000 seconds, and this is 34560001",
        ),
        (
            ["--all-tenants", "--expires", "2m"],
            {"STEPWELL_JWT_MAX_LIFETIME_S": "119"},
            2,
            "--expires: STEPWELL_JWT_MAX_LIFETIME_S allows 119 seconds, and this is 120",
        ),
        (["--all-tenants"], {"STEPWELL_JWT_MAX_LIFETIME_S": "59"}, 2, "STEPWELL_JWT_MAX_LIFETIME_S: Expected"),
        (["--all-tenants"], {}, 1, "there is no secret in"),
        (["--all-tenants"], {"STEPWELL_JWT_SECRET": "short"}, 2, "STEPWELL_JWT_SECRET: Expected at least 32 bytes"),
        (["--all-tenants"], {"STEPWELL_JWT_JWKS_URL": "https://x/k", "STEPWELL_JWT_SECRET": ""}, 2, "a key set here"),
        (["--all-tenants"], {"STEPWELL_JWT_ALGORITHM": "ES256"}, 2, "sign them where the private key is"),
    ],
)
def test_a_refusal_is_one_line(
    options: list[str],
    env: dict[str, str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_secret = {} if code == 1 else {"STEPWELL_JWT_SECRET": SECRET}
    for name, value in {**with_secret, **env}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["stepwell", "token", "--data-dir", str(tmp_path), *options])
    assert run() == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
    assert SECRET not in err


def test_openapi_prints_the_document_that_is_served(up: StepwellProcess, tmp_path: Path) -> None:
    served = httpx.get(f"{up.url}/schema/openapi.json").json()
    assert json.loads(stepwell("openapi").stdout) == served
    assert stepwell("openapi", "--output", tmp_path / "openapi.json").returncode == 0
    assert json.loads((tmp_path / "openapi.json").read_text()) == served


def test_openapi_prints_the_document_of_the_custom_worker() -> None:
    document = json.loads(stepwell("openapi", "--custom-worker").stdout)
    assert document == json.loads((TOP / "src/stepwell/providers/custom/openapi.json").read_text())


def _secret(up: StepwellProcess) -> str:
    return (up.data_dir / "secret").read_text().strip()


def _claims(token: str, secret: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, secret, ["HS256"], audience="stepwell")
    return claims
