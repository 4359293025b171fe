"""The rules about names that a tool can check: one word has one meaning."""

import ast
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src/stepwell"

# Modules of the same name in different layers, and the one subject that each treats in its layer.
SHARED_SUBJECTS = {
    "artifacts": "the output files of tasks",
    "attempts": "attempts: the engine runs them, the app builds what they need",
    "bench": "the benchmark, and its command",
    "clock": "the clock port, and its implementation",
    "data_folder": "the data folder: the service's, and PostgreSQL's inside it",
    "database": "the database: its connections, and what the app builds on them",
    "deliveries": "the deliveries of webhooks",
    "diagnostics": "explain, plan and dry run",
    "dry_run": "dry runs",
    "errors": "the errors of the product, and those of the command line",
    "event_feed": "the feed of all events: its rules, and its storage",
    "events": "events",
    "idempotency": "requests with an Idempotency-Key",
    "manual": "the manual: its route, and its command",
    "problems": "problem details: their structs, and how errors become them",
    "providers": "providers",
    "run": "a run: its state machine, and the command that makes one",
    "system": "the operations without a token",
    "task_configs": "the configs of the types of task: their structs, and their rules",
    "tasks": "tasks",
    "webhooks": "webhooks",
    "workflows": "workflows",
}


def _modules() -> dict[str, set[str]]:
    """The layers (first folders) in which each module or package name stands."""
    layers: dict[str, set[str]] = defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        names = parts[:-1] if parts[-1] == "__init__" else parts
        if len(names) > 1:
            layers[names[-1]].add(names[0])
        if len(parts) > 1:
            layers[parts[0]].add(parts[0])
    return layers


def test_modules_of_different_layers_share_a_name_only_for_one_subject() -> None:
    shared = {name for name, layers in _modules().items() if len(layers) > 1}
    assert shared - SHARED_SUBJECTS.keys() == set()
    assert SHARED_SUBJECTS.keys() - shared == set(), "these exceptions have no use any more"


def test_no_public_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(SOURCE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_names_of_tests_are_sentences() -> None:
    """A name of one or two words says nothing in the output of pytest."""
    short = [
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name.split("_")) < 4
    ]
    assert short == []
