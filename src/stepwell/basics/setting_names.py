"""Names of settings.

A family of settings shares a prefix, like STEPWELL_CREDENTIALS__FAL and STEPWELL_CREDENTIALS__REPLICATE.
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
    """Return the setting that holds the credential *name*."""
    return CREDENTIAL + name.upper()
