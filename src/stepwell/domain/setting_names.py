"""Names of settings, as messages give them: what would configure a provider, and what a mistyped name may mean."""

import re
from collections.abc import Collection, Iterator
from difflib import SequenceMatcher, get_close_matches

from stepwell.domain.credentials import belongs, owner
from stepwell.domain.model import ProviderType

PREFIX = "STEPWELL_"
CREDENTIAL = PREFIX + "CREDENTIALS__"
TENANTS_SECRET = PREFIX + "WEBHOOK_SECRETS__"
DEFAULT_PROVIDER = PREFIX + "DEFAULT_PROVIDER"

_ANY_CREDENTIAL = CREDENTIAL + "<PROVIDER>"
_BY_URL = frozenset({ProviderType.COMFYUI, ProviderType.CUSTOM})  # a credential alone doesn't configure these
_NAMES_A_KEY = re.compile(r"(.+?)_*(?:(?:API|ACCESS|SECRET)_*)?(?:KEY|TOKEN|SECRET|CREDENTIALS?)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
_CLOSE = 0.75  # the least likeness of a setting to a mistyped name, 0 to 1, by difflib
_CLOSE_FAMILY = 0.88
_LONGEST = 100  # characters of a name that is compared


def credential_setting(name: str) -> str:
    """The setting that holds the credential *name*."""
    return CREDENTIAL + name.upper()


def how_held(name: str, provider: str | None) -> str:
    """Which setting would hold the credential *name* of *provider* (None: of any), for a message about its absence.

    A name that no credential of the provider can have isn't repeated: it may be the key itself.
    """
    kind = owner(name) if provider is None else provider
    if kind is not None and belongs(name, kind) and _NAME.fullmatch(name):
        return f"set {credential_setting(name)}"
    own = CREDENTIAL + ("<PROVIDER>" if kind is None else kind.upper())
    return f"the names of settings are {own} and {own}_<NAME>"


def url_setting(provider: str) -> str | None:
    """The setting of the address of *provider*, in any case; None if Stepwell has no such setting."""
    name = provider.upper()
    return f"{PREFIX}{name}_URL" if name in ProviderType.__members__ and name != ProviderType.LOCAL else None


def configured_by(provider: ProviderType) -> str:
    """The setting that makes *provider* available; two of them with "or" between them."""
    if provider in _BY_URL:
        return f"{PREFIX}{provider}_URL"
    if provider is ProviderType.OPENAI:  # other servers that speak its API may need no key
        return f"{credential_setting(provider)} or {PREFIX}{provider}_URL"
    return credential_setting(provider)


def likely_setting(name: str, known: Collection[str]) -> str | None:
    """The setting that the unknown variable *name* may mean, one of *known* or of a family; None if none is near."""
    tail = name[len(PREFIX) - 1 : _LONGEST].strip("_-")
    if not tail:
        return None
    by_squeezed = {_squeezed(setting[len(PREFIX) :]): setting for setting in known}
    if (same := by_squeezed.get(_squeezed(tail))) is not None:
        return same
    if (of_family := _credential_meant(tail) or _tenants_secret_meant(tail)) is not None:
        return of_family
    near = get_close_matches(_squeezed(tail), by_squeezed, n=1, cutoff=_CLOSE)
    return by_squeezed[near[0]] if near else None


def _credential_meant(tail: str) -> str | None:
    if (rest := _member(tail, "CREDENTIALS")) is not None:
        return next((credential_setting(name) for name in _credential_names(rest)), _ANY_CREDENTIAL)
    key = _NAMES_A_KEY.fullmatch(tail.upper())
    name = None if key is None else next(_credential_names(key[1]), None)
    return None if name is None else credential_setting(name)


def _tenants_secret_meant(tail: str) -> str | None:
    rest = _member(tail, "WEBHOOKSECRETS")
    return TENANTS_SECRET + rest if rest else None  # tenants are told apart by case


def _member(tail: str, family: str) -> str | None:
    """What follows the name of a *family* (without underscores) at the head of *tail*; None if it isn't at its head."""
    best, rest = _CLOSE_FAMILY, None
    for end in range(1, len(tail) + 1):
        likeness = SequenceMatcher(None, _squeezed(tail[:end]), family).ratio()
        # A head ends where a word does, unless the family's name itself is there to the letter.
        whole = end == len(tail) or "_" in tail[end - 1 : end + 1] or likeness == 1
        if whole and likeness > best:
            best, rest = likeness, tail[end:].strip("_-")
    return rest


def _credential_names(rest: str) -> Iterator[str]:
    """Names of credentials that *rest* may mean: each begins with a provider's."""
    if owner(rest) is not None:
        yield rest
    squeezed = _squeezed(rest)
    near = get_close_matches(squeezed, ProviderType.__members__, n=1, cutoff=_CLOSE)
    if near and near[0] != ProviderType.LOCAL:
        yield near[0]


def _squeezed(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())
