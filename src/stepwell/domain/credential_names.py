"""Whose a credential is: its name begins with the provider's, so that no key is ever sent to another party."""

from collections.abc import Container

from stepwell.contract.enums import ProviderType


def belongs(name: str, provider: str) -> bool:
    """Whether a credential *name*, in any case, is for the provider of type *provider*, in any case."""
    name, provider = name.lower(), provider.lower()
    return name == provider or name.startswith((f"{provider}_", f"{provider}-"))


def owner(name: str) -> ProviderType | None:
    return next((provider for provider in ProviderType if belongs(name, provider)), None)


def of_another(name: str, provider: str, held: Container[str]) -> bool:
    """Whether *name* is of a credential that *provider* must not get. *held*: the names of all, in lower case.

    Whether another provider has a credential of that name makes no difference: nobody can find it out.
    """
    return not belongs(name, provider) and (owner(name) is not None or name.lower() in held)


def how_called(provider: str) -> str:
    own = provider.lower()
    return f"a credential for {provider.upper()} is called {own}, or begins with {own}_ or {own}-"
