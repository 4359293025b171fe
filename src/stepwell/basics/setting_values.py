"""The types of settings that are read from one text: prices, limits, networks and secrets."""

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Self, TypeVar

from msgspec import DecodeError, Meta, Struct, json

from stepwell.basics.workflow_limits import TenantLimit
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.providers import ModelLimit

# https://url.spec.whatwg.org/#origin, with any scheme, because apps have their own schemes.
_ORIGIN = re.compile(
    r"(?!https://.*:443\Z|http://.*:80\Z)[a-z][a-z0-9+.-]*://(?:[a-z0-9_-][a-z0-9._-]*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)


DEFAULT_QUEUE = "stepwell"
_QueueKey = Annotated[str, Meta(pattern=rf"^(?:\*|{'|'.join(TaskType)})(?!\n)$")]  # msgspec takes no enum beside "*"
_QueueName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?!\n)$")]

T = TypeVar("T")


def _read(text: str, kind: type[T], example: str) -> T:
    """Return *text*, which is JSON, as *kind*. Raises ValueError, which doesn't quote the text."""
    try:
        return json.decode(text, type=kind)
    except (DecodeError, RecursionError):
        raise ValueError(f"Expected JSON, like {example}") from None


class PriceUnit(StrEnum):
    JOB = "job"
    IMAGE = "image"
    SECOND = "second"
    MILLION_TOKENS = "million_tokens"


_Amount = Annotated[float, Meta(ge=0)]
_WrittenAmount = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,9})?(?!\n)$")]
_Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}(?!\n)$")]


class ModelPrice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of one unit. `currency` is None for that of the setting."""

    amount: _Amount | _WrittenAmount
    currency: _Currency | None = None
    per: PriceUnit = PriceUnit.JOB


class Prices(dict[str, dict[str, float | ModelPrice]]):
    """Prices by provider and model. A number is that of a job. The model `*` stands for all others."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the JSON *text*. Raises ValueError."""
        example = '{"FAL": {"fal-ai/flux/dev": 0.025, "*": {"amount": "0.40", "currency": "EUR", "per": "second"}}}'
        prices = _read(text, dict[ProviderType, dict[str, _Amount | ModelPrice]], example)
        return cls(prices.items())


class TenantBudgets(dict[str, dict[str, Decimal]]):
    """How much each tenant may spend on a day (UTC), by tenant and currency. `*` stands for all others."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the JSON *text*. Raises ValueError."""
        budgets = _read(text, dict[str, dict[_Currency, _Amount | _WrittenAmount]], '{"acme": {"USD": "50.00"}}')
        return cls({each: {key: Decimal(str(most)) for key, most in own.items()} for each, own in budgets.items()})

    def of(self, tenant: str | None) -> Mapping[str, Decimal] | None:
        """Return the budget of the tenant; None if it has none."""
        return self.get("*") if tenant is None else self.get(tenant, self.get("*"))


class ModelLimits(dict[ProviderType, dict[str, ModelLimit]]):
    """The limits of models, by provider and model. The model `*` stands for each of the others."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the JSON *text*. Raises ValueError."""
        return cls(_read(text, dict[ProviderType, dict[str, ModelLimit]], '{"FAL": {"*": {"concurrency": 2}}}'))


class TenantLimits(dict[str, TenantLimit]):
    @classmethod
    def read(cls, text: str) -> Self:
        """Read the JSON *text*. Raises ValueError."""
        return cls(_read(text, dict[str, TenantLimit], '{"acme": {"active_workflows": 1000}}'))


class TaskQueues(dict[str, str]):
    """The names of queues, by task type. `*` stands for each of the others."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the JSON *text*. Raises ValueError."""
        return cls(_read(text, dict[_QueueKey, _QueueName], '{"GENERATION": "gpu", "*": "stepwell"}'))

    def of(self, task_type: TaskType) -> str:
        return self.get(task_type) or self.get("*") or DEFAULT_QUEUE

    @property
    def names(self) -> list[str]:
        """The names of all queues, in order."""
        return sorted({self.of(task_type) for task_type in TaskType})


class Networks(tuple[IPv4Network | IPv6Network, ...]):
    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Read networks in CIDR notation, separated by commas or spaces. Raises ValueError without *text*."""
        try:
            return cls(ip_network(part, strict=False) for part in text.replace(",", " ").split())
        except ValueError:
            raise ValueError("Expected networks, like 10.0.0.0/8 fd00::/8") from None


class Origins(tuple[str, ...]):
    """A list of origins of web pages, as browsers send them, or `*` alone for every origin."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Read origins, separated by commas or spaces. Raises ValueError without *text*."""
        origins = cls(text.replace(",", " ").split())
        if origins != ("*",) and any(_ORIGIN.fullmatch(origin) is None for origin in origins):
            raise ValueError(
                "Expected origins as browsers send them, like https://app.example.com http://localhost:3000: in lower "
                "case, without a path, a slash at the end or the scheme's own port; or * alone"
            )
        return origins


class Secrets(dict[str, str]):
    """Secrets by name, in lower case. Its repr contains only the names."""

    def __repr__(self) -> str:
        return f"<secrets: {', '.join(sorted(self)) or 'none'}>"
