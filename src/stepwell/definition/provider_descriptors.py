"""The descriptors of providers: what is known of a provider before it is built.

The descriptor of a built-in provider is in its folder. A package names its own as an entry point of the group
`stepwell.providers`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from types import NoneType
from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import fields

from stepwell.basics.setting_names import CREDENTIAL, PREFIX, belongs_to, credential_setting
from stepwell.basics.spelling import did_you_mean
from stepwell.contract.enums import WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.contract.fields import about
from stepwell.contract.task_configs import TASK_TYPES
from stepwell.lifecycle.steps import StepMembers

SHARED_MEMBERS: Final = frozenset({"provider_type", "credential", "on_unknown"})
"""The members of `provider_config` that every provider reads."""

PollInterval: TypeAlias = Annotated[float, Meta(ge=0.01, le=600)]

_ADDED = frozenset({"content_credentials"})  # the engine adds it to a result
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,49}")
_CREDENTIAL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
ORDINARY_TASKS: Final = frozenset(TaskType) - WITHOUT_PROVIDER - {TaskType.EXPERIMENTAL_FAL}
"""The task types that any provider may do."""


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """The settings of one provider. Field `x` is read from STEPWELL_<NAME>_X; a subclass adds further ones.

    A field that is called `url`, or whose name ends with `_url`, is an http(s) URL. `{provider}` in a description
    stands for the provider's name.
    """

    url: Annotated[str | None, about("The API of {provider}")] = None
    poll_interval_s: Annotated[
        PollInterval | None,
        about("STEPWELL_POLL_INTERVAL_S for jobs of {provider}", default="STEPWELL_POLL_INTERVAL_S"),
    ] = None


class OutputNames(Struct, frozen=True):
    """The members that the results of a provider may have: of images, of videos, of texts.

    `more` are those of certain task types besides. What must hold: whatever the provider's code can put into
    a result is listed.
    """

    image: frozenset[str] = frozenset()
    video: frozenset[str] = frozenset()
    text: frozenset[str] = frozenset()
    more: Mapping[TaskType, frozenset[str]] = {}

    def __post_init__(self) -> None:
        _require_types(self, image=frozenset, video=frozenset, text=frozenset, more=Mapping)

    def of(self, task_type: TaskType) -> frozenset[str] | None:
        """Return the members that a result may have: none if there is no result; None if it may have any."""
        if (kind := TASK_TYPES[task_type].output) is None:
            return None
        own: frozenset[str] = getattr(self, kind) | self.more.get(task_type, frozenset())
        return own and own | _ADDED


class ConfiguredBy(Enum):
    """The setting without which a service doesn't have the provider.

    NOTHING: it always has it. URL: STEPWELL_<NAME>_URL. CREDENTIAL: STEPWELL_CREDENTIALS__<NAME>; a URL of another
    server configures it as well. CREDENTIAL_OR_URL: the same, where such servers often need no key.
    """

    NOTHING = auto()
    URL = auto()
    CREDENTIAL = auto()
    CREDENTIAL_OR_URL = auto()


class ProviderDescriptor(Struct, frozen=True, kw_only=True):
    """The description of a provider, for all code that must not import the provider itself.

    - `build` is called with a `ProviderSetup`, and returns the provider: an `InProcessProvider` or a `RemoteProvider`.
      It is only called if the provider is configured. It may be the name of the function, as `module:name`, so that
      commands which need the descriptor alone don't import the provider.
    - `settings`: None if the provider has none.
    - `members` are the members of `provider_config` that it reads beside `SHARED_MEMBERS`; None if it takes any.
      `members_without_effect` are those among them that don't change its results.
    - `version` is that of its work. Work of another version is never taken over by a later run.
    - `outputs` are the members of its results; None if they may have any.
    - `task_types` are those that it may do, whatever its `capabilities` say.
    - `public_hosts` are the hosts of its public API, for messages about failed connections.
    - `credential_fault` returns what is wrong with a credential that is certain to be useless, else None. It may be the
      name of the function too.
    - `package` is the name of the package that brings it. Stepwell sets it.
    """

    name: ProviderType
    build: Callable[[Any], Any] | str
    configured_by: ConfiguredBy = ConfiguredBy.NOTHING
    settings: type[ProviderSettings] | None = None
    members: frozenset[str] | None = None
    members_without_effect: frozenset[str] = frozenset()
    version: str = ""
    outputs: OutputNames | None = None
    task_types: frozenset[TaskType] = ORDINARY_TASKS
    public_hosts: tuple[str, ...] = ()
    credential_fault: Callable[[str], str | None] | str | None = None
    package: str = "stepwell"

    def __post_init__(self) -> None:
        _require_types(
            self,
            name=str,
            build=(Callable, str),
            configured_by=ConfiguredBy,
            settings=(type, NoneType),
            members=(frozenset, NoneType),
            members_without_effect=frozenset,
            version=str,
            outputs=(OutputNames, NoneType),
            task_types=frozenset,
            public_hosts=tuple,
            credential_fault=(Callable, str, NoneType),
        )
        if self.settings is not None and not issubclass(self.settings, ProviderSettings):
            raise TypeError("settings: expected a subclass of ProviderSettings")

    def __str__(self) -> str:
        return f"the provider {self.name} of the package {self.package}"

    @property
    def config_members(self) -> frozenset[str] | None:
        """All members of `provider_config` that the provider reads; None if it takes any."""
        return None if self.members is None else SHARED_MEMBERS | self.members

    def outputs_of(self, task_type: TaskType) -> frozenset[str] | None:
        """Return the members that a result of the task type may have; None if it may have any."""
        return None if self.outputs is None else self.outputs.of(task_type)

    def members_of(self, task_type: TaskType, _provider_config: Mapping[str, Any]) -> StepMembers:
        """Return what is known of the members of a step, as `ports.providers.DeclaresMembers` does."""
        return StepMembers(config=self.config_members, outputs=self.outputs_of(task_type))

    @property
    def url_setting(self) -> str | None:
        """The setting with the URL of the provider; None if it has none."""
        return None if self.settings is None else self.variable("url")

    @property
    def configuring_setting(self) -> str:
        """The setting that configures the provider, or two with "or" between them, for messages."""
        url, credential = self.variable("url"), credential_setting(self.name)
        match self.configured_by:
            case ConfiguredBy.URL:
                return url
            case ConfiguredBy.CREDENTIAL_OR_URL:
                return f"{credential} or {url}"
            case _:
                return credential

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment variables of the provider's settings, each with the field that it sets."""
        own = () if self.settings is None else fields(self.settings)
        return {self.variable(field.name): field.name for field in own}

    def variable(self, field: str) -> str:
        """Return the environment variable that sets *field* of the provider's settings."""
        return f"{PREFIX}{self.name}_{field.upper()}"


def _require_types(struct: Struct, **members: Any) -> None:
    """Raise TypeError unless each of *members* has (one of) its types: msgspec doesn't check what code makes."""
    for member, types in members.items():
        if not isinstance(value := getattr(struct, member), types):
            names = " or ".join(each.__name__ for each in (types if isinstance(types, tuple) else (types,)))
            raise TypeError(f"{member}: expected {names}, got {type(value).__name__}")


class InvalidProviders(Exception):
    """The installed providers can't be used together, or a package that brings one is broken."""


class InstalledProviders(dict[ProviderType, ProviderDescriptor]):
    """The descriptors of all installed providers, by name. They don't change.

    `sole_providers` has the provider of each task type that a single one may do.
    """

    def __init__(self, descriptors: Iterable[ProviderDescriptor]) -> None:
        """Raises `InvalidProviders` for a name that can't be one, or that two providers have.

        A name that begins with another one and `_` is refused too: credentials and settings of the two would have the
        same names.
        """
        super().__init__()
        for each in descriptors:
            if not _NAME.fullmatch(each.name):
                raise InvalidProviders(f"{each} can't be called so: expected A-Z, 0-9 and _, at most 50")
            for other, first in self.items():
                if each.name == other:
                    packages = f"of the packages {first.package} and {each.package}"
                    raise InvalidProviders(f"two providers are called {each.name}: {packages}")
                if belongs_to(each.name, other) or belongs_to(other, each.name):
                    raise InvalidProviders(f"{first} and {each}: the name of one begins the other's")
            self[each.name] = each
        # Each member of `provider_config` that belongs to some providers, with these.
        self._readers: dict[str, frozenset[ProviderType]] = {
            member: frozenset(each.name for each in self.values() if member in (each.members or ()))
            for member in frozenset[str]().union(*(each.members or () for each in self.values()))
        }
        able = {kind: [each.name for each in self.values() if kind in each.task_types] for kind in TaskType}
        self.sole_providers = {kind: names[0] for kind, names in able.items() if len(names) == 1}

    @property
    def config_members(self) -> frozenset[str]:
        """The members of `provider_config` that belong to some provider."""
        return frozenset(self._readers)

    def reader_of(self, members: Iterable[str]) -> ProviderType | None:
        """Return the only provider to which *members* belong. Members that belong to no provider don't count."""
        readers = [self._readers[name] for name in members if name in self._readers]
        common = frozenset[ProviderType]().union(*readers).intersection(*readers)
        return next(iter(common)) if len(common) == 1 else None

    def expected(self, name: str, *, or_null: bool = False) -> str:
        """Return the message about *name*, which isn't the name of an installed provider. It doesn't contain *name*."""
        return f"Expected one of {', '.join(self)}{' or null' if or_null else ''}{did_you_mean(name, self)}"

    def owner(self, credential: str) -> ProviderType | None:
        """Return the provider that the credential of this name is for, or None."""
        return next((provider for provider in self if belongs_to(credential, provider)), None)

    def is_of_another(self, credential: str, provider: str, credentials: Iterable[str]) -> bool:
        """Return whether the credential of this name is for another provider. *credentials*: all names, in lower case.

        The result is the same whether or not the other provider has a credential of that name. So nobody can find out
        which credentials exist.
        """
        if belongs_to(credential, provider):
            return False
        return self.owner(credential) is not None or credential.lower() in credentials

    def credential_hint(self, credential: str, provider: str | None) -> str:
        """Return the setting to use for a missing credential of *provider* (None: of any), for a message.

        An impossible name isn't repeated, because it may be the key itself.
        """
        kind = self.owner(credential) if provider is None else provider
        if kind is not None and belongs_to(credential, kind) and _CREDENTIAL_NAME.fullmatch(credential):
            return f"set {credential_setting(credential)}"
        own = CREDENTIAL + ("<PROVIDER>" if kind is None else kind.upper())
        return f"the names of settings are {own} and {own}_<NAME>"


NO_PROVIDERS: Final = InstalledProviders(())
