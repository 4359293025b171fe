"""The measures of the code, and the limits of some.

`PYTHONPATH=tests python -m support.house_measures` prints them all, each with what makes it up. `tests/test_house.py`
fails over a limit.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import median

from msgspec import Struct

from support.processes.source_tree import TOP

SOURCE = TOP / "src/stepwell"
COMMAND = "PYTHONPATH=tests python -m support.house_measures"
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# The one table of limits, by the name of the measure. Lower a limit when its measure falls. Raise the lines of Python
# for an issue with a weight only.
LIMITS: Mapping[str, int] = {
    "loose modules at the root": 0,
    "modules in the one flat folder of api": 0,
    "classes that inherit from Run": 0,
    "lines of the longest function": 60,
    "lines of the longest class": 400,
    "lines of the longest file": 600,
    "lines that wire objects after construction": 4,
    "lines of Python in src": 96_398,  # the aim is 80,000
}
# Modules that stand at the root for good: what runs, and what plug-ins of users import.
_ROOT = {"__init__", "__main__", "plugin"}
_WIRING = {"listen", "use"}
_WIRED = {"claimers", "change_listeners", "message_listeners", "command_listeners", "probes"}
_SHOWN = 12


class Measure(Struct, frozen=True):
    """A measure, and the places that make it up, the worst first."""

    value: float
    places: list[str] = []


class Length(Struct, frozen=True):
    """The lines of a function, a class or a file."""

    lines: int
    kind: type
    name: str
    path: Path

    def __str__(self) -> str:
        name = "" if self.kind is Path else f": {self.name}"
        return f"{self.lines} {self.path.relative_to(TOP)}{name}"


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _modules() -> dict[str, Path]:
    """Return the modules of the package by their names; a package's module has the name of the package."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements below a node, but those inside of expressions."""
    for below in ast.iter_child_nodes(node):
        if not isinstance(below, ast.expr):
            yield below
            yield from _statements(below)


@cache
def _lengths() -> list[Length]:
    """Return the lengths in `src` and `tests`, the longest first."""
    lengths = []
    for path in [*(TOP / "src").rglob("*.py"), *(TOP / "tests").rglob("*.py")]:
        lengths.append(Length(len(path.read_text(encoding="utf-8").splitlines()), Path, path.name, path))
        for node in _statements(_tree(path)):
            if isinstance(node, Definition):
                kind = ast.ClassDef if isinstance(node, ast.ClassDef) else ast.FunctionDef
                lengths.append(Length((node.end_lineno or node.lineno) - node.lineno + 1, kind, node.name, path))
    return sorted(lengths, key=lambda each: -each.lines)


def _longest(is_wanted: Callable[[Length], bool]) -> Measure:
    found = [each for each in _lengths() if is_wanted(each)]
    return Measure(found[0].lines if found else 0, [str(each) for each in found])


def _flat(folder: Path, without: set[str]) -> Measure:
    """Return the modules that stand in *folder* itself."""
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem not in without)
    return Measure(len(names), names)


def _line_counts() -> list[int]:
    return [len(path.read_text(encoding="utf-8").splitlines()) for path in _modules().values()]


def _subclasses() -> Measure:
    names = [
        node.name
        for path in _modules().values()
        for node in _statements(_tree(path))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Run" for base in node.bases)
    ]
    return Measure(len(names), names)


@cache
def _importers() -> dict[str, set[str]]:
    """Return the modules that import each module."""
    importers: dict[str, set[str]] = defaultdict(set)
    for name, path in _modules().items():
        for node in _statements(_tree(path)):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                imported = [each if each in _modules() else str(node.module) for each in inner]
            else:
                continue
            for each in imported:
                importers[each].add(name)
    return importers


def _with_one_importer() -> Measure:
    found = [name for name in _modules() if len(_importers()[name]) == 1]
    return Measure(len(found), [f"{name}, by {next(iter(_importers()[name]))}" for name in found])


def _wired(node: ast.AST) -> str | None:
    """Return the name of the method, or of the other object's attribute, by which a statement ties two objects."""
    match node:
        case ast.Expr(ast.Call(ast.Attribute(attr=name), args=[_, *_])) if name in _WIRING:
            return name
        case ast.Assign([ast.Subscript(ast.Attribute(attr=name))]) if name in _WIRED:
            return name
        case ast.Expr(ast.Call(ast.Attribute(ast.Attribute(attr=name), "append"))) if name in _WIRED:
            return name
        case ast.Assign([ast.Attribute(ast.Name("self"))]):
            return None
        case ast.Assign([ast.Attribute(attr=name)], value) if name.startswith(("on_", "is_")):
            return None if isinstance(value, ast.Constant) else name
    return None


def _wiring() -> Measure:
    """Return where the app and the engine tie an object to another one after its construction.

    A subscription to the event bus is left out, because any number may subscribe. So is a method whose name is that of
    the attribute that it sets.
    """
    places = []
    for path in [*(SOURCE / "app").rglob("*.py"), *(SOURCE / "engine").rglob("*.py")]:
        nodes = list(_statements(_tree(path)))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        setters = {each for function in functions for each in _statements(function) if _wired(each) == function.name}
        places += [
            f"{path.relative_to(TOP)}:{node.lineno} {name}"
            for node in nodes
            if isinstance(node, ast.stmt) and node not in setters and (name := _wired(node)) is not None
        ]
    return Measure(len(places), places)


def _constructor_arguments() -> Measure:
    """Return how many arguments the calls of our classes pass by position."""
    classes = {
        node.name for path in _modules().values() for node in _statements(_tree(path)) if isinstance(node, ast.ClassDef)
    }
    found = [
        (len(node.args), f"{path.relative_to(TOP)}:{node.lineno} {node.func.id}")
        for path in _modules().values()
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes
    ]
    found.sort(key=lambda each: -each[0])
    return Measure(found[0][0], [f"{number} {place}" for number, place in found])


MEASURES: Mapping[str, Callable[[], Measure]] = {
    "loose modules at the root": lambda: _flat(SOURCE, _ROOT),
    "modules in the one flat folder of api": lambda: _flat(SOURCE / "api", {"__init__"}),
    "classes that inherit from Run": _subclasses,
    "lines of the longest function": lambda: _longest(lambda each: each.kind is ast.FunctionDef),
    "lines of the longest class": lambda: _longest(lambda each: each.kind is ast.ClassDef),
    "lines of the longest file": lambda: _longest(lambda each: each.kind is Path),
    "lines of Python in src": lambda: Measure(sum(_line_counts())),
    "modules": lambda: Measure(len(_modules())),
    "modules with one importer": _with_one_importer,
    "lines of the median module": lambda: Measure(median(_line_counts())),
    "lines that wire objects after construction": _wiring,
    "arguments of a constructor by position": _constructor_arguments,
}


def main() -> None:
    """Print the measures."""
    for name, take in MEASURES.items():
        measure = take()
        limit = f", limit {LIMITS[name]:,}" if name in LIMITS else ""
        print(f"{name}: {measure.value:,}{limit}")
        print("".join(f"    {place}\n" for place in measure.places[:_SHOWN]), end="")
        if len(measure.places) > _SHOWN:
            print(f"    ... {len(measure.places) - _SHOWN} more")


if __name__ == "__main__":
    main()
