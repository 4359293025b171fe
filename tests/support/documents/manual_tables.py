"""The tables of the manual that are generated from the code.

`poe generate manual` writes them between the notes `<!-- table: NAME, by poe generate -->` and `<!-- end of table -->`
of the pages. A test compares them with the code.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import EnumType
from functools import partial
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import click
from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo, fields

from stepwell.api.requests.operations import Operation
from stepwell.api.routes.all_routes import operations
from stepwell.basics.setting_names import CREDENTIAL, PREFIX, TENANTS_SECRET
from stepwell.cli.workflow_commands import declarations, definition_declarations  # noqa: F401 - they declare commands
from stepwell.cli.workflow_commands.service_command import SHARED, ServiceCommand, service_commands
from stepwell.contract.enums import EVENT_MEANINGS, WITHOUT_PROVIDER, EventType, ProviderType, TaskType
from stepwell.contract.reasons import StepReason, WorkflowReason
from stepwell.contract.scopes import SCOPES, Permission
from stepwell.definition.provider_descriptors import ProviderDescriptor
from stepwell.providers.fal.parameters import KINDS as FAL
from stepwell.providers.google import models as google_models
from stepwell.providers.installed_providers import BUILT_IN
from stepwell.providers.openai.parameters import MODELS as OPENAI
from stepwell.providers.replicate.parameters import KINDS as REPLICATE
from stepwell.settings import Settings
from support.documents.definition_tables import STRUCTS, rows_of
from support.documents.descriptions import metas_of
from support.documents.manual import FOLDER, pages
from support.generated import COMMAND

_TABLE = re.compile(
    rf"^(<!-- table: ([^\n]+), by {COMMAND} -->\n).*?^(<!-- end of table -->)$", re.MULTILINE | re.DOTALL
)
_FAMILIES = {"credentials": CREDENTIAL + "NAME", "webhook_secrets": TENANTS_SECRET + "TENANT"}
_SIZES = {
    1 << 20: "1 MiB",
    64 << 20: "64 MiB",
    256 << 20: "256 MiB",
    512 << 20: "512 MiB",
    1 << 30: "1 GiB",
    10 << 30: "10 GiB",
}
Rows = Sequence[Sequence[str]]


def with_tables(text: str) -> str:
    """Return the Markdown of a page with all its tables as the code has them now."""
    return _TABLE.sub(lambda table: f"{table[1]}{TABLES[table[2]]()}{table[3]}", text)


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _settings() -> str:
    rows = []
    for each in fields(Settings):
        if each.name == "providers":
            rows += [row for provider in BUILT_IN for row in _provider_settings(provider)]
        else:
            rows.append([f"`{_variable(each)}`", _default(each), _meaning(each)])
    return _table(["variable", "default", "meaning"], rows)


def _provider_settings(provider: ProviderDescriptor) -> Iterator[list[str]]:
    for each in fields(provider.settings) if provider.settings else ():
        meaning = _meaning(each).replace("{provider}", provider.name)
        yield [f"`{provider.variable(each.name)}`", _default(each), meaning]


def _variable(setting: FieldInfo) -> str:
    return _FAMILIES.get(setting.name, PREFIX + setting.name.upper())


def _about(setting: FieldInfo) -> Meta:
    return next(meta for meta in metas_of(setting.type) if meta.description is not None)


def _default(setting: FieldInfo) -> str:
    extra = _about(setting).extra or {}
    if "default" in extra:
        return str(extra["default"])
    if setting.default in (None, NODEFAULT, "", ()):
        return "-"
    if isinstance(setting.default, bool):
        return str(setting.default).lower()
    size = f" ({_SIZES[setting.default]})" if setting.name.endswith("_bytes") else ""
    return f"{setting.default:g}{size}" if isinstance(setting.default, float) else f"{setting.default}{size}"


def _meaning(setting: FieldInfo) -> str:
    text = f"{_about(setting).description}."
    choices = [choice for part in _parts(setting.type) for choice in _choices(part)]
    if choices:
        text += f" One of {', '.join(choices)}."
    for meta in metas_of(setting.type):
        if meta.ge is not None:
            text += f" Range: {meta.ge:,} to {meta.le:,}." if meta.le is not None else f" At least {meta.ge:,}."
    return text


def _parts(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        yield from _parts(kind.__origin__)
    elif get_origin(kind) is Literal or not get_args(kind):
        yield kind
    else:
        for part in get_args(kind):
            yield from _parts(part)


def _choices(kind: Any) -> Sequence[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return list(kind.__members__) if isinstance(kind, EnumType) else []


def _routes() -> str:
    rows = [[f"`{_request(each)}`", _scopes_of(each), _effect(each)] for each in operations()]
    return _table(["request", "scope", "what it does"], rows)


def _scopes_of(operation: Operation) -> str:
    own = operation.permission or "-"
    return f"{own}, {Permission.RUN}" if operation.for_runs else own


def _effect(operation: Operation) -> str:
    name = f"{operation.title.capitalize()}."
    if not operation.description:
        return name
    return f"{name} {operation.description}" if operation.path.startswith("/api/") else operation.description


def _request(operation: Operation) -> str:
    queries = "&".join(f"{each.encode_name}=" for each in fields(operation.query))
    return f"{operation.method} {operation.path}{'?' if queries else ''}{queries}"


def _commands() -> str:
    rows = [
        [f"`{_usage(name, each)}`", _options(each), each.get_short_help_str(1_000)]
        for name, each in commands_over_the_api().items()
    ]
    return _table(["command", "options", "what it does"], rows)


def commands_over_the_api() -> dict[str, ServiceCommand]:
    """Return the commands by name, those of a group behind its name."""
    found = dict[str, click.Command]()
    for name, command in service_commands.commands.items():
        members = command.commands if isinstance(command, click.Group) else {"": command}
        found |= {f"{name} {member}".strip(): each for member, each in members.items()}
    return {name: each for name, each in found.items() if isinstance(each, ServiceCommand)}


def _usage(name: str, command: click.Command) -> str:
    context = click.Context(command)
    arguments = [each.make_metavar(context) for each in command.params if isinstance(each, click.Argument)]
    return " ".join([name, *arguments])


def _options(command: click.Command) -> str:
    options = [each for each in command.params if isinstance(each, click.Option) and each.name not in SHARED]
    return ", ".join(f"`{'/'.join([*each.opts, *each.secondary_opts])}`" for each in options) or "-"


def _scopes() -> str:
    return _table(["scope", "allows"], [[f"`{scope}`", meaning] for scope, meaning in SCOPES.items()])


def _events() -> str:
    return _table(["type", "meaning"], [[f"`{kind}`", f"{EVENT_MEANINGS[kind]}."] for kind in EventType])


def _reasons(union: Any) -> str:
    rows = []
    for kind in get_args(union):
        members = [f"`{each.encode_name}`" for each in fields(kind) if each.name != "detail"]
        text = " ".join((getdoc(kind) or "").split())
        rows.append([f"`{kind.__struct_config__.tag}`", text, ", ".join(members) or "-"])
    return _table(["code", "meaning", "members"], rows)


def _members(name: str) -> str:
    return _table(["member", "kind", "meaning"], list(rows_of(name)))


def _models() -> str:
    providers = [
        ProviderType.FAL,
        ProviderType.REPLICATE,
        ProviderType.OPENAI,
        ProviderType.GEMINI,
        ProviderType.VERTEX,
    ]
    kinds = [kind for kind in TaskType if kind not in WITHOUT_PROVIDER | {TaskType.EXPERIMENTAL_FAL}]
    rows = [[str(kind), *(_model(provider, kind) for provider in providers)] for kind in kinds]
    return _table(["task type", *map(str, providers)], rows)


def _model(provider: ProviderType, kind: TaskType) -> str:
    match provider:
        case ProviderType.FAL:
            model = FAL[kind].app if kind in FAL else "-"
        case ProviderType.REPLICATE:
            model = ((REPLICATE[kind].model if kind in REPLICATE else None) or "-").partition(":")[0]
        case ProviderType.OPENAI:
            model = OPENAI.get(kind, "-")
        case _:
            model = (
                "-"
                if google_models.capabilities(provider, kind) is None
                else google_models.model_for(provider, kind, {})
            )
    return model


TABLES: Mapping[str, Callable[[], str]] = {
    "settings": _settings,
    "routes": _routes,
    "commands": _commands,
    "scopes": _scopes,
    "events": _events,
    "workflow reasons": lambda: _reasons(WorkflowReason),
    "step reasons": lambda: _reasons(StepReason),
    "models": _models,
    **{name: partial(_members, name) for name in STRUCTS},
}


def generated_files() -> dict[Path, str]:
    """Return the text of each page of the manual that has a table."""
    texts = {FOLDER / f"{name}.md": text for name, text in pages().items()}
    return {path: with_tables(text) for path, text in texts.items() if _TABLE.search(text)}


def main() -> None:
    """Write the tables into the pages."""
    for path, text in generated_files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
