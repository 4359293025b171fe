"""Names of settings and of credentials.

A family of settings shares a prefix, like STEPWELL_CREDENTIALS__FAL and STEPWELL_CREDENTIALS__REPLICATE. The name of a
credential begins with the provider's, so that no key is ever sent to another provider.
"""

PREFIX = "STEPWELL_"
CREDENTIAL = PREFIX + "CREDENTIALS__"
TENANTS_SECRET = PREFIX + "WEBHOOK_SECRETS__"
DEFAULT_PROVIDER = PREFIX + "DEFAULT_PROVIDER"
ALLOWED_CIDRS = PREFIX + "ALLOWED_CIDRS"
# Variables of the command line, which aren't settings of the service.
URL = PREFIX + "URL"
TOKEN = PREFIX + "TOKEN"
DEBUG = PREFIX + "DEBUG"
COMMAND_LINE = frozenset({URL, TOKEN, TOKEN + "_FILE", DEBUG})


def credential_setting(name: str) -> str:
    return CREDENTIAL + name.upper()


def belongs_to(name: str, provider: str) -> bool:
    """Return whether the credential *name* is for *provider*. Case makes no difference in either."""
    name, provider = name.lower(), provider.lower()
    return name == provider or name.startswith((f"{provider}_", f"{provider}-"))


def naming_rule(provider: str) -> str:
    """Return a sentence part that says how the credentials of *provider* are named."""
    own = provider.lower()
    return f"a credential for {provider.upper()} is called {own}, or begins with {own}_ or {own}-"
