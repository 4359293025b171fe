"""The scopes of tokens, each with its meaning for users.

The checks of the API, its OpenAPI document, `stepwell token`, the tools of assistants, the web page and the manual take
them from here. A new scope is a member of `Permission`, and is named by the operations that need it.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self


class Permission(StrEnum):
    """The scopes that allow operations. `included_in` are those that allow all that this one does."""

    meaning: str
    included_in: tuple[str, ...]

    def __new__(cls, scope: str, meaning: str = "", *included_in: str) -> Self:
        member = str.__new__(cls, scope)
        member._value_, member.meaning, member.included_in = scope, meaning, included_in
        return member

    READ = "workflows:read", "to read workflows, files, events, costs and limits, and to check definitions"
    WRITE = "workflows:write", "to create and change workflows, to upload and delete files, to send signals, to decide"
    APPROVE = "workflows:approve", "only to decide, and to list what waits for a decision", WRITE[0]
    READ_DEFINITIONS = "definitions:read", "to read stored definitions"
    WRITE_DEFINITIONS = "definitions:write", "to store, change and delete definitions"
    RUN = ("definitions:run", "only to run the definitions in the claim `definitions`, see below", WRITE[0])

    def is_in(self, granted: Collection[str]) -> bool:
        """Return whether *granted* scopes allow what this one does."""
        return any(scope in granted for scope in (self, *self.included_in))


ALL_TENANTS: Final = "tenants:all"
SCOPES: Final[Mapping[str, str]] = MappingProxyType(
    {scope.value: scope.meaning for scope in Permission}
    | {ALL_TENANTS: "to do that for the workflows and definitions of every tenant"}
)
"""All scopes, with their meanings."""

DEFAULT_PERMISSIONS: Final = tuple(scope for scope in Permission if not scope.included_in)
"""The permissions of a token that `stepwell token` makes without `--scope`."""

READ_PERMISSIONS: Final = tuple(scope for scope in DEFAULT_PERMISSIONS if scope.endswith(":read"))


def allowed_by(granted: Collection[str]) -> set[str]:
    """Return the *granted* scopes, and those that they include."""
    return {*granted, *(scope for scope in Permission if scope.is_in(granted))}
