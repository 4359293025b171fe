"""The names of credentials. A name begins with the provider's, so that no key is ever sent to another provider."""

from collections.abc import Container

from stepwell.contract.enums import ProviderType


def belongs_to(name: str, provider: str) -> bool:
    """Return whether the credential *name* is for *provider*. Case makes no difference in either."""
    name, provider = name.lower(), provider.lower()
    return name == provider or name.startswith((f"{provider}_", f"{provider}-"))


def owner(name: str) -> ProviderType | None:
    """Return the provider that the credential *name* is for, or None."""
    return next((provider for provider in ProviderType if belongs_to(name, provider)), None)


def belongs_to_another(name: str, provider: str, held: Container[str]) -> bool:
    """Return whether *name* is for another provider than *provider*. *held*: all names, in lower case.

    The result is the same whether or not the other provider has a credential of that name. So nobody can find out
    which credentials exist.
    """
    return not belongs_to(name, provider) and (owner(name) is not None or name.lower() in held)


def naming_rule(provider: str) -> str:
    """Return a sentence part that says how the credentials of *provider* are named."""
    own = provider.lower()
    return f"a credential for {provider.upper()} is called {own}, or begins with {own}_ or {own}-"
