"""The house rules that tools can check: types, style, layers, sizes, pins."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.house_measures import COMMAND, LIMITS, MEASURES

TOP = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    ["ruff check", "ruff format --check", "lint-imports", "mypy"],
)
def test_tool_is_content(command: str) -> None:
    tool, *options = command.split()
    done = subprocess.run([BIN / tool, *options], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_measures_of_the_code_are_within_their_limits() -> None:
    """One test, because all measures read the same files."""
    over = []
    for name, limit in LIMITS.items():
        measure = MEASURES[name]()
        if measure.value > limit:
            over += [f"{name}: {measure.value:,}. The limit is {limit:,}", *(f"    {x}" for x in measure.places[:12])]
    if over:
        pytest.fail("\n".join([*over, f"All measures: {COMMAND}"]), pytrace=False)


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ;]", line, maxsplit=1)[0].lower() for line in requirements}


def test_pins_hold_every_dependency_and_no_address() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    constraints = (TOP / "deploy/constraints.txt").read_text()
    requirements = (TOP / "deploy/requirements.txt").read_text()
    pinned = _names([line for line in constraints.splitlines() if "==" in line])
    hashed = _names([line for line in requirements.splitlines() if "==" in line])
    assert _names(project["dependencies"]) <= hashed <= pinned
    assert _names(project["optional-dependencies"]["test"]) <= pinned
    assert "://" not in constraints + requirements
    assert re.search(r"^\s*-(?!-hash)", constraints + requirements, re.MULTILINE) is None


def test_the_npm_packages_of_the_tests_are_pinned_by_hashes_and_without_an_address() -> None:
    folder = TOP / "tests/typescript"
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    own = packages.pop("")
    assert own["devDependencies"] == json.loads((folder / "package.json").read_text())["devDependencies"]
    assert all(re.fullmatch(r"[\d.]+", version) for version in own["devDependencies"].values())
    assert [name for name, package in packages.items() if "integrity" not in package or "resolved" in package] == []
    assert "omit-lockfile-registry-resolved=true" in (folder / ".npmrc").read_text()


def test_top_level_holds_only_what_it_may() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=False).stdout.split()
    tops = {path.split("/")[0] for path in listed}
    allowed = {"pyproject.toml", "src", "migrations", "tests", "deploy", "README.md"}
    assert {top for top in tops if not top.startswith(".")} <= allowed


# Each of these shows a result that nothing public shows. Lower the number when you remove one.
PRIVATE_MEMBERS_IN_TESTS = 31
_NAMED_TUPLE = {"_replace", "_asdict", "_fields"}  # public, in spite of their names


def _private_members(path: Path) -> list[str]:
    """The places where *path* uses a private member of another object than `self`, `cls` and `super()`."""
    found: list[str] = []
    text = path.read_text()
    if not re.search(r"\._[a-z]", text):
        return found
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.endswith("__"):
            continue
        owner = node.value.func if isinstance(node.value, ast.Call) else node.value
        own = isinstance(owner, ast.Name) and owner.id in ("self", "cls", "super")
        if not own and node.attr not in _NAMED_TUPLE:
            found.append(f"{path.relative_to(TOP)}:{node.lineno} {ast.unparse(node)}")
    return found


def test_tests_use_private_members_only_where_nothing_else_shows_the_result() -> None:
    found = [place for path in sorted((TOP / "tests").rglob("*.py")) for place in _private_members(path)]
    assert len(found) <= PRIVATE_MEMBERS_IN_TESTS, "\n".join(found)
