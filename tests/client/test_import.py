"""Importing the client imports nothing of the server, and no library that it doesn't need."""

import subprocess
import sys

_LIBRARIES = {
    *("PIL", "alembic", "anyio", "asyncio", "asyncpg", "click", "filetype", "google", "httptools", "jmespath", "jwt"),
    *("litestar", "markdown_it", "multipart", "numpy", "obstore", "prometheus_client", "rich", "sqlalchemy"),
    *("standardwebhooks", "structlog", "uvicorn", "uvloop", "websockets"),
}


def _modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_client_imports_of_stepwell_the_contract_only() -> None:
    modules = {name for name in _modules_after("import stepwell.client") if name.startswith("stepwell.")}
    assert {name.split(".")[1] for name in modules} == {"client", "contract"}


def test_importing_the_client_imports_no_library_beside_httpx_and_msgspec() -> None:
    added = _modules_after("import stepwell.client") - _modules_after("import httpx, msgspec")
    assert {name.split(".")[0] for name in added} & _LIBRARIES == set()
