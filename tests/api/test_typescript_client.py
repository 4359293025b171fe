"""openapi-typescript and openapi-fetch make a client from the served document, and it runs every operation."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from stepwell.api.routes.all_routes import openapi_document
from stepwell.providers.installed_providers import installed_providers
from support.processes.node import SOURCES, Node
from support.service.listening_service import listening
from support.service.live_service import Service, token

pytestmark = [pytest.mark.extended, pytest.mark.asyncio(loop_scope="module")]

PROGRAM = "every_operation"
OPTIONS = ("--default-non-nullable=false", "--root-types", "--root-types-no-schema-prefix")
DOCUMENT = openapi_document([*installed_providers()])


@pytest.fixture(scope="module")
def folder(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the types of the document, and the compiled program."""
    folder = tmp_path_factory.mktemp("typescript")
    node.link_packages(folder)
    (folder / "openapi.json").write_text(json.dumps(DOCUMENT))
    for name in ("package.json", "tsconfig.json", f"{PROGRAM}.ts"):
        shutil.copy(SOURCES / name, folder)
    printed = node.run(folder, "openapi-typescript", "openapi.json", "--output", "stepwell.ts", *OPTIONS)
    assert re.fullmatch(r"✨ openapi-typescript \S+\n🚀 openapi\.json → stepwell\.ts \[\S+s\]\n+", printed), printed
    assert node.run(folder, "tsc") == ""
    return folder


async def test_the_typescript_client_runs_every_operation(api: Service, node: Node, folder: Path) -> None:
    async with listening(api) as port:
        env = {"STEPWELL": f"http://127.0.0.1:{port}", "TOKEN": token()}
        printed = await asyncio.to_thread(node.run, folder, f"{PROGRAM}.js", env=env)
    operations = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert set(json.loads(printed)) == operations
