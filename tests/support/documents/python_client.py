"""The Python client that openapi-python-client generates from an OpenAPI document, a package that can be imported."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

_GENERATE_S = 120


def generate_python_client(document: Any, folder: Path, package: str) -> None:
    """Generate the client of *document* as *package* in *folder*, and let it be imported. No warning may be printed."""
    (folder / f"{package}.json").write_text(json.dumps(document))
    (folder / "settings.json").write_text(json.dumps({"post_hooks": []}))  # which would format the code
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--output-path", package]
    command += ["--path", f"{package}.json", "--config", "settings.json", "--fail-on-warning"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_GENERATE_S)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"Generating {package}", "")
    sys.path.insert(0, str(folder))


class PythonClient:
    """A generated client: the package *package*, whose requests *transport* sends.

    `called` has the names of the operations that were called.
    """

    def __init__(self, package: str, transport: httpx.AsyncClient) -> None:
        self.models = import_module(f"{package}.models")
        self.types = import_module(f"{package}.types")
        self.client = import_module(f"{package}.client").Client(base_url="", raise_on_unexpected_status=True)
        self.client.set_async_httpx_client(transport)
        self.called: set[str] = set()
        (folder,) = import_module(f"{package}.api").__path__
        self._modules = {
            path.stem: f"{package}.api.{path.parent.name}.{path.stem}" for path in Path(folder).glob("*/[!_]*.py")
        }

    @property
    def operations(self) -> set[str]:
        return set(self._modules)

    async def call(self, operation: str, *arguments: Any, expects: int = 200, **members: Any) -> Any:
        """Return the parsed answer of an operation, whose status must be *expects*."""
        self.called.add(operation)
        module = import_module(self._modules[operation])
        response = await module.asyncio_detailed(*arguments, client=self.client, **members)
        assert response.status_code == expects, response.content
        return response.parsed
