"""The container without a Docker engine: the image's install lines in a bare environment, and what Compose starts.

`tests/cli/test_health.py` runs the health check.
"""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stepwell.basics.setting_names import PREFIX
from stepwell.settings import Settings
from stepwell.settings.secret_files import SECRET_VARIABLES
from support.processes.source_tree import TOP, bash, copy_tree

DOCKERFILE = (TOP / "deploy/Dockerfile").read_text()
# The schema of the Compose specification, as docker-compose 1.29.2 (Apache License 2.0) contains it.
SCHEMA = json.loads(Path(__file__).with_name("compose-spec.schema.json").read_text())
COMPOSE = {path.name: path.read_text() for path in (TOP / "deploy").glob("compose*.yaml")}


@pytest.mark.extended
def test_install_lines_give_a_working_program(tmp_path: Path) -> None:
    target = tmp_path / "opt"
    lines = re.findall(r"^RUN (.*/opt/stepwell.*)$", DOCKERFILE, re.MULTILINE)
    assert [("-m venv" in line, "--require-hashes" in line, "--no-deps" in line) for line in lines] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    script = "\n".join(line.replace("/opt/stepwell", str(target)) for line in lines)
    bash(script, copy_tree(tmp_path / "src"), {})
    assert "stepwell" in bash(f"{target}/bin/stepwell --version", tmp_path, {})
    bash(f"{target}/bin/python -c 'import stepwell.cli.service_host, mcp, celery'", tmp_path, {})  # the extras


def test_every_source_that_the_image_copies_is_let_through() -> None:
    ignored = (TOP / ".dockerignore").read_text().splitlines()
    copied = [
        source for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (TOP / source).exists()
        assert f"!{source}" in ignored


def test_the_image_runs_as_a_user_by_number_that_has_a_name_and_owns_the_volume() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user == ("10001", "10001")
    script = DOCKERFILE.replace("\\\n", "")
    assert re.search(r"groupadd --gid 10001 stepwell ", script)
    assert re.search(r"useradd --uid 10001 --gid 10001 --home-dir /var/lib/stepwell .* stepwell ", script)
    # OpenShift runs an image as any uid, in group 0.
    assert "install --directory --owner=10001 --group=0 --mode=0770 /var/lib/stepwell\n" in script
    assert "VOLUME /var/lib/stepwell\n" in script
    assert "STEPWELL_DATA_DIR=/var/lib/stepwell" in script


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_each_file_of_compose_fits_the_schema(name: str) -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(yaml.safe_load(COMPOSE[name]))


def test_each_file_of_compose_starts_its_services() -> None:
    """By default: no service has a profile."""
    started = {name: set(services(name)) for name in COMPOSE}
    assert started == {
        "compose.yaml": {"stepwell"},
        "compose.external.yaml": {"stepwell-external", "postgres"},
        "compose.cluster.yaml": {"serve-1", "serve-2", "worker", "proxy", "postgres", "redis", "minio", "bucket"},
    }
    assert not [name for name in COMPOSE for service in services(name).values() if "profiles" in service]
    assert "command" not in services("compose.yaml")["stepwell"]  # which is then the image's: up
    assert services("compose.external.yaml")["stepwell-external"]["command"] == ["serve"]


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_every_service_of_compose_writes_to_volumes_and_temporary_folders_only(name: str) -> None:
    for service in services(name).values():
        assert service["read_only"] is True
        assert "/tmp" in service["tmpfs"]
        for volume in service.get("volumes", []):
            assert volume.endswith(":ro") or volume.partition(":")[0] in yaml.safe_load(COMPOSE[name])["volumes"]


def test_compose_asks_for_every_secret_and_for_no_other_value() -> None:
    assert set(re.findall(r"\$\{(\w+):\?[^}]+\}", COMPOSE["compose.external.yaml"])) == {
        "POSTGRES_PASSWORD",
        "STEPWELL_JWT_SECRET",
    }
    assert re.findall(r"\$\{(\w+):-\}", COMPOSE["compose.external.yaml"]) == ["STEPWELL_DEFAULT_PROVIDER"]
    assert "$" not in COMPOSE["compose.yaml"]


def test_the_settings_in_compose_are_settings() -> None:
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__}
    known |= {f"{name}_FILE" for name in SECRET_VARIABLES}
    assert set(re.findall(rf"{PREFIX}\w+", "".join(COMPOSE.values()))) <= known


def test_the_cluster_has_no_secret_but_in_files_that_its_services_get() -> None:
    declared = yaml.safe_load(COMPOSE["compose.cluster.yaml"])["secrets"]
    for service in services("compose.cluster.yaml").values():
        environment, granted = service.get("environment", {}), set(service.get("secrets", []))
        assert not SECRET_VARIABLES & environment.keys() - {f"{PREFIX}CELERY_BROKER_URL"}, "that has no password"
        files = {value for name, value in environment.items() if name.endswith("_FILE")}
        assert files <= {f"/run/secrets/{name}" for name in granted}
        assert granted <= declared.keys()
    header = COMPOSE["compose.cluster.yaml"].partition("\nx-stepwell:")[0]
    for name, secret in declared.items():
        assert secret == {"file": f"secrets/{name}"}
        assert re.search(rf"\b{name}\b", header), "the lines at the top make each of them"


def test_the_lines_at_the_top_of_the_cluster_make_its_secrets(tmp_path: Path) -> None:
    lines = re.findall(r"^#   (.*)$", COMPOSE["compose.cluster.yaml"], re.MULTILINE)
    (tmp_path / "deploy").mkdir()
    bash("\n".join(line for line in lines if not line.startswith("docker")), tmp_path, {})
    made = {path.name: path.read_text().strip() for path in (tmp_path / "deploy/secrets").iterdir()}
    assert made.keys() == yaml.safe_load(COMPOSE["compose.cluster.yaml"])["secrets"].keys()
    assert made["database_url"] == f"postgresql://stepwell:{made['postgres_password']}@postgres/stepwell"
    assert min(map(len, made.values())) >= 32


def test_the_proxy_of_the_cluster_leads_to_each_service_that_serves() -> None:
    caddyfile = (TOP / "deploy/Caddyfile").read_text()
    serving = [name for name, each in services("compose.cluster.yaml").items() if each.get("command") == ["serve"]]
    assert f"reverse_proxy {' '.join(f'{name}:9000' for name in serving)} {{" in caddyfile
    assert services("compose.cluster.yaml")["worker"]["deploy"]["replicas"] == len(serving) == 2


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_each_file_of_compose_begins_with_its_command(name: str) -> None:
    assert f"docker compose -f deploy/{name} up\n" in COMPOSE[name].partition("\nservices:")[0]


def services(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE[name])["services"]
    return found
