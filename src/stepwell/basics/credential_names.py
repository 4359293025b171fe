"""The names of credentials. A name begins with the provider's, so that no key is ever sent to another provider."""


def belongs_to(name: str, provider: str) -> bool:
    """Return whether the credential *name* is for *provider*. Case makes no difference in either."""
    name, provider = name.lower(), provider.lower()
    return name == provider or name.startswith((f"{provider}_", f"{provider}-"))


def naming_rule(provider: str) -> str:
    """Return a sentence part that says how the credentials of *provider* are named."""
    own = provider.lower()
    return f"a credential for {provider.upper()} is called {own}, or begins with {own}_ or {own}-"
