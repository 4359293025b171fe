"""The parts of the client that are generated: the synchronous one, and the builder's methods by task type.

`poe generate client` writes them. A test compares them with the sources.
"""

import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec.structs import fields

from stepwell.contract import task_configs
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import TASK_TYPES
from stepwell.definition.mapping.templates import SUB_DEFINITION, SUB_REFERENCE
from support.generated import COMMAND
from support.processes.source_tree import TOP

_CLIENT = TOP / "src/stepwell/client"
_NAMES = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "aread": "read",
    "async_call": "sync_call",
    "async_semaphore": "sync_semaphore",
    "async_sleep": "sync_sleep",
    "asynccontextmanager": "contextmanager",
    "asynchronous": "synchronous",
    "AsyncIterator": "Iterator",
}
_OWN = ["--config", 'lint.isort.known-first-party=["stepwell"]']  # also before there is the folder
_KEYWORDS = {"async", "await"}
_HEADER = f"# Generated from the asynchronous client by `{COMMAND}`: don't change it.\n"
_GENERATED_BELOW = f"    # The methods below are generated from the contract by `{COMMAND}`: don't change them.\n\n"


def synchronous(source: str) -> str:
    """Return the synchronous form of an asynchronous module: the same tokens, without `async` and `await`, with the
    names of what is synchronous.
    """
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token in reversed(tokens):
        (row, begin), (_, end) = token.start, token.end
        if token.type == tokenize.NAME and token.string in _KEYWORDS:
            rest = lines[row - 1][end:].removeprefix(" ")
            lines[row - 1] = lines[row - 1][:begin] + rest
        elif token.type == tokenize.NAME:
            lines[row - 1] = lines[row - 1][:begin] + _name(token.string) + lines[row - 1][end:]
    return "".join(lines)


def _name(name: str) -> str:
    return _NAMES.get(name) or (name.removeprefix("Async") if name.startswith("Async") else name)


def generated_files() -> dict[Path, str]:
    """Return the text of each generated file."""
    texts = {}
    for path in sorted((_CLIENT / "asynchronous").glob("*.py")):
        if path.name == "__init__.py":
            text = '"""The synchronous client, which is generated from the asynchronous one."""\n'
        else:
            text = synchronous(path.read_text(encoding="utf-8"))
        texts[_CLIENT / "synchronous" / path.name] = _HEADER + text
    builder = _CLIENT / "builder.py"
    written, mark, _ = builder.read_text(encoding="utf-8").partition(_GENERATED_BELOW)
    texts[builder] = written + mark + "\n".join(line for task_type in TaskType for line in _method(task_type))
    return {path: _formatted(text, path) for path, text in texts.items()}


def _formatted(text: str, path: Path) -> str:
    """Return *text* as ruff writes it, with its imports in order."""
    ruff = str(Path(sys.executable).parent / "ruff")
    for arguments in (["check", "--fix", "--unsafe-fixes", "--select", "I,UP028,C416,SIM117", *_OWN], ["format"]):
        command = [ruff, *arguments, "--quiet", "--no-cache", "--stdin-filename", str(path), "-"]
        text = subprocess.run(command, cwd=TOP, input=text, capture_output=True, text=True, check=True).stdout
    return text


_STEPS: Mapping[TaskType, str] = {
    TaskType.VIDEO_GENERATION: "VideoStep",
    TaskType.LLM_INTERACTION: "TextStep",
    TaskType.EXPERIMENTAL_FAL: "BuiltStep",
    TaskType.PASSTHROUGH: "BuiltStep",
    TaskType.APPROVAL: "BuiltStep",
    TaskType.SIGNAL: "BuiltStep",
    TaskType.DELAY: "BuiltStep",
    TaskType.SUBWORKFLOW: "BuiltStep",
}


def _method(task_type: TaskType) -> Iterator[str]:
    config = task_configs.CONFIGS[task_type]
    hints = get_type_hints(config, include_extras=True)
    names = [each.name for each in fields(config) if each.name != "timeout_s"]
    required = TASK_TYPES[task_type].inputs
    needed = set(required) if len(required) == 1 else set()
    step = _STEPS.get(task_type, "ImageStep")
    star = "*, " if names else ""
    parameters = [
        f"{_parameter(name)}: {_hint(name, hints[name])}{'' if name in needed else ' | None = None'}"
        for name in sorted(names, key=lambda name: name not in needed)
    ]
    parameters.append("**options: Unpack[StepOptions]")
    yield f"    def {task_type.lower()}(self, {star}{', '.join(parameters)}) -> {step}:"
    one_of = f" It needs {' or '.join(f'*{_parameter(name)}*' for name in required)}." if len(required) > 1 else ""
    yield f'        """Add a step of the type {task_type}.{one_of}"""'
    yield f"        return {step}(self._steps.add(TaskType.{task_type.name}, _config(locals()), options), self)\n"


def _parameter(name: str) -> str:
    if name.endswith("_urls"):
        return name.removesuffix("_urls") + "s"
    return name.removesuffix("_url")


def _hint(name: str, kind: Any) -> str:
    if name == SUB_DEFINITION:
        return "Definition"
    if name == SUB_REFERENCE:
        return "Mapping[str, Any]"
    if _is(kind, task_configs.References):
        return "Files"
    if _is(kind, task_configs.Reference):
        return "File"
    return f"{_plain(kind)} | Value"


def _is(kind: Any, wanted: Any) -> bool:
    return kind == wanted or wanted in get_args(kind)


def _plain(kind: Any) -> str:
    """Return *kind* as a parameter is annotated: without what messages say about it, and read only."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return f"Literal[{', '.join(repr(choice).replace(chr(39), chr(34)) for choice in get_args(kind))}]"
    if get_origin(kind) is list:
        return f"Sequence[{_plain(get_args(kind)[0])}]"
    if get_origin(kind) is dict:
        return "Mapping[str, Any]"
    if kind is Any or isinstance(kind, type):
        return "Any" if kind is Any else str(kind.__name__)
    return " | ".join(_plain(part) for part in get_args(kind) if part is not NoneType)


def main() -> None:
    """Write the files."""
    for path, text in generated_files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
