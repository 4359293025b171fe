"""Names of settings, for messages: which setting configures a provider, and which one a misspelled name may mean.

A family of settings shares a prefix, like STEPWELL_CREDENTIALS__FAL and STEPWELL_CREDENTIALS__REPLICATE.
"""

import re
from collections.abc import Collection, Iterator
from difflib import SequenceMatcher, get_close_matches

from stepwell.basics.credential_names import belongs_to, owner
from stepwell.contract.enums import ProviderType

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

_ANY_CREDENTIAL = CREDENTIAL + "<PROVIDER>"
_BY_URL = frozenset({ProviderType.COMFYUI, ProviderType.CUSTOM})  # a credential alone doesn't configure these
_NAMES_A_KEY = re.compile(r"(.+?)_*(?:(?:API|ACCESS|SECRET)_*)?(?:KEY|TOKEN|SECRET|CREDENTIALS?)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
_CLOSE = 0.75  # the lowest ratio, by difflib, at which a setting resembles a misspelled name
_CLOSE_FAMILY = 0.88  # the same for the prefix of a family
_LONGEST = 100  # characters of a name that is compared


def credential_setting(name: str) -> str:
    """Return the setting that holds the credential *name*."""
    return CREDENTIAL + name.upper()


def credential_hint(name: str, provider: str | None) -> str:
    """Return the setting to use for the missing credential *name* of *provider* (None: of any), for a message.

    An impossible name isn't repeated, because it may be the key itself.
    """
    kind = owner(name) if provider is None else provider
    if kind is not None and belongs_to(name, kind) and _NAME.fullmatch(name):
        return f"set {credential_setting(name)}"
    own = CREDENTIAL + ("<PROVIDER>" if kind is None else kind.upper())
    return f"the names of settings are {own} and {own}_<NAME>"


def url_setting(provider: str) -> str | None:
    """Return the setting with the URL of *provider* (upper or lower case); None if there is no such setting."""
    name = provider.upper()
    return f"{PREFIX}{name}_URL" if name in ProviderType.__members__ and name != ProviderType.LOCAL else None


def provider_setting(provider: ProviderType) -> str:
    """Return the setting that configures *provider*, or two settings with "or" between them."""
    if provider in _BY_URL:
        return f"{PREFIX}{provider}_URL"
    if provider is ProviderType.OPENAI:  # other servers that speak its API may need no key
        return f"{credential_setting(provider)} or {PREFIX}{provider}_URL"
    return credential_setting(provider)


def similar_setting(name: str, settings: Collection[str]) -> str | None:
    """Return the setting that the unknown variable *name* resembles, one of *settings* or of a family; else None."""
    tail = name[len(PREFIX) - 1 : _LONGEST].strip("_-")
    if not tail:
        return None
    by_letters = {_letters(setting[len(PREFIX) :]): setting for setting in settings}
    if (same := by_letters.get(_letters(tail))) is not None:
        return same
    if (member := _similar_credential(tail) or _similar_tenant_secret(tail)) is not None:
        return member
    matches = get_close_matches(_letters(tail), by_letters, n=1, cutoff=_CLOSE)
    return by_letters[matches[0]] if matches else None


def _similar_credential(tail: str) -> str | None:
    """Return the setting of a credential that *tail* resembles, as CREDENTIAL_FAL and FAL_API_KEY do; else None."""
    if (rest := _rest_after_family(tail, "CREDENTIALS")) is not None:
        return next((credential_setting(name) for name in _credential_names(rest)), _ANY_CREDENTIAL)
    key = _NAMES_A_KEY.fullmatch(tail.upper())
    name = None if key is None else next(_credential_names(key[1]), None)
    return None if name is None else credential_setting(name)


def _similar_tenant_secret(tail: str) -> str | None:
    rest = _rest_after_family(tail, "WEBHOOKSECRETS")
    return TENANTS_SECRET + rest if rest else None  # tenants' names are case-sensitive


def _rest_after_family(tail: str, family: str) -> str | None:
    """Return what follows the name of *family*, perhaps misspelled, in *tail*; None if *tail* begins otherwise.

    *family* is written without underscores.
    """
    best, rest = _CLOSE_FAMILY, None
    for end in range(1, len(tail) + 1):
        ratio = SequenceMatcher(None, _letters(tail[:end]), family).ratio()
        # A prefix ends at the end of a word, unless it is exactly the family's name.
        whole = end == len(tail) or "_" in tail[end - 1 : end + 1] or ratio == 1
        if whole and ratio > best:
            best, rest = ratio, tail[end:].strip("_-")
    return rest


def _credential_names(rest: str) -> Iterator[str]:
    """Yield the names of credentials that *rest* may mean. Each begins with a provider's name."""
    if owner(rest) is not None:
        yield rest
    matches = get_close_matches(_letters(rest), ProviderType.__members__, n=1, cutoff=_CLOSE)
    if matches and matches[0] != ProviderType.LOCAL:
        yield matches[0]


def _letters(name: str) -> str:
    """Return the letters and digits of *name*, in upper case."""
    return re.sub(r"[^A-Z0-9]", "", name.upper())
