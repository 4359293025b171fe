"""The rules about names that a tool can check: one word has one meaning."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src/stepwell"

# Modules of the same name in different layers, and the one subject that each treats in its layer.
SHARED_SUBJECTS = {
    "artifacts": "the output files of tasks",
    "attempts": "attempts: the engine runs them, the app builds what they need",
    "bench": "the benchmark, and its command",
    "by_hand": "ends of steps by hand: the state machine's part, and the operations",
    "budgets": "budgets: their port, and their storage",
    "celery": "Celery: the provider that sends messages, and the app of the workers",
    "children": "sub-workflows: the state machine's part, and the engine's",
    "client": "the client of this API, and the provider's of ComfyUI's",
    "clock": "the clock port, and its implementation",
    "data_folder": "the data folder: the service's, and PostgreSQL's inside it",
    "database": "the database: its connections, and what the app builds on them",
    "definition": "the definition of a workflow: its structs, and its validation",
    "deliveries": "the deliveries of webhooks",
    "diagnostics": "explain, plan and dry run",
    "dry_run": "dry runs",
    "errors": "the errors of the product, and those of the command line",
    "event_feed": "the feed of all events: its rules, and its storage",
    "events": "events",
    "examples": "the example definitions, and the command that prints them",
    "explain": "explain: its rules, and the part of the engine that applies them",
    "files": "files: what the engine does with them, and the commands that send and list them",
    "idempotency": "requests with an Idempotency-Key",
    "items": "the items of `for_each`: how they are mapped, and the state machine's part",
    "peer_commands": "commands between processes: their form, their port, and their storage",
    "problems": "problem details: their structs, and how errors become them",
    "processes": "the processes of a service: their ports, and their tables",
    "providers": "providers",
    "requests": "HTTP requests: the API reads them, the client makes them",
    "responses": "HTTP responses: the API builds them, the client reads them",
    "run": "a run: its state machine, and the command that makes one",
    "service": "the service: what the API calls, and the object that builds and runs everything",
    "sign_ins": "sign-ins to the web page: their port, and their storage",
    "sse": "server-sent events: the service writes them, the client reads them",
    "steps": "steps: what is resolved of them, and their tables",
    "stored_definitions": "definitions that are stored by name",
    "system": "the operations without a token",
    "task_configs": "the configs of the task types: their structs, and their rules",
    "tasks": "tasks",
    "uploads": "uploads: the files that users send",
    "waits": "waits of steps: their rules, and their tables",
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


# The client's errors mirror those that the API answers, and have their names.
MIRROR = SOURCE / "client/errors.py"


def test_no_public_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for path in set(SOURCE.rglob("*.py")) - {MIRROR}:
        for name in re.findall(r"^ *class ([A-Za-z]\w*)[(:\[]", path.read_text(), re.MULTILINE):
            places[name].append(str(path.relative_to(SOURCE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


_SHORT_TEST = re.compile(r"\bdef test(_[^\W_]*){0,2}\(")


def test_names_of_tests_are_sentences() -> None:
    """A name of one or two words says nothing in the output of pytest."""
    short = [
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        if _SHORT_TEST.search(text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _SHORT_TEST.match(f"def {node.name}(")
    ]
    assert short == []


# Dotted words in backquotes that begin like a module of Stepwell: a column, and files.
NO_REFERENCES = {"events.txid"}
FILE_SUFFIXES = (".css", ".html", ".js", ".lock", ".md", ".py")
Members = dict[str, set[str]]


def _members(path: Path) -> Members:
    """The names that a module defines, each with the names that its body assigns or defines, if it is a class."""
    members: Members = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = ast.walk(node) if isinstance(node, ast.ClassDef) else ()
            members[node.name] = {
                getattr(x, "name", "") or getattr(x, "attr", "") or getattr(x, "id", "") for x in inner
            }
        else:
            members |= {x.id: set() for x in ast.walk(node) if isinstance(x, ast.Name)}
    return members


def _references() -> Iterator[tuple[Path, str]]:
    """Dotted names in backquotes, by the file whose text contains them. Code contains no backquotes."""
    for path in SOURCE.rglob("*.py"):
        for name in re.findall(r"`(?:stepwell\.)?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)`", path.read_text()):
            yield path, name


def test_names_in_docstrings_and_comments_exist() -> None:
    modules: dict[str, Members] = {}
    for path in SOURCE.rglob("*.py"):
        names = path.relative_to(SOURCE).with_suffix("").parts
        modules[".".join(names[:-1] if names[-1] == "__init__" else names)] = _members(path)
    known = {""}
    for module, members in modules.items():
        parts = module.split(".")
        inside = {*members, *(f"{name}.{member}" for name in members for member in members[name])}
        known |= {name for name in inside if "." in name}
        for i in range(len(parts)):
            suffix = ".".join(parts[i:])
            known |= {suffix, *(f"{suffix}.{name}" for name in inside)}
    heads = {part for name in modules for part in name.split(".")} | {n for m in modules.values() for n in m if m[n]}
    missing = [
        (str(path.relative_to(SOURCE)), name)
        for path, name in _references()
        if name.split(".")[0] in heads and name not in known | NO_REFERENCES and not name.endswith(FILE_SUFFIXES)
    ]
    assert missing == []
