"""The setting that a misspelled name may mean."""

import re
from collections.abc import Collection, Iterator
from difflib import SequenceMatcher, get_close_matches

from stepwell.basics.setting_names import CREDENTIAL, PREFIX, TENANTS_SECRET, credential_setting
from stepwell.contract.enums import ProviderType
from stepwell.definition.provider_descriptors import InstalledProviders

_ANY_CREDENTIAL = CREDENTIAL + "<PROVIDER>"
_NAMES_A_KEY = re.compile(r"(.+?)_*(?:(?:API|ACCESS|SECRET)_*)?(?:KEY|TOKEN|SECRET|CREDENTIALS?)")
_CLOSE = 0.75  # the lowest ratio, by difflib, at which a setting resembles a misspelled name
_CLOSE_FAMILY = 0.88  # the same for the prefix of a family
_LONGEST = 100  # characters of a name that is compared


def similar_setting(name: str, settings: Collection[str], providers: InstalledProviders) -> str | None:
    """Return the setting that the unknown variable *name* resembles, one of *settings* or of a family; else None.

    Credentials begin with the name of one of *providers*.
    """
    tail = name[len(PREFIX) - 1 : _LONGEST].strip("_-")
    if not tail:
        return None
    by_letters = {_letters(setting[len(PREFIX) :]): setting for setting in settings}
    if (same := by_letters.get(_letters(tail))) is not None:
        return same
    if (member := _similar_credential(tail, providers) or _similar_tenant_secret(tail)) is not None:
        return member
    matches = get_close_matches(_letters(tail), by_letters, n=1, cutoff=_CLOSE)
    return by_letters[matches[0]] if matches else None


def _similar_credential(tail: str, providers: InstalledProviders) -> str | None:
    """Return the setting of a credential that *tail* resembles, as CREDENTIAL_FAL and FAL_API_KEY do; else None."""
    if (rest := _rest_after_family(tail, "CREDENTIALS")) is not None:
        return next((credential_setting(name) for name in _credential_names(rest, providers)), _ANY_CREDENTIAL)
    key = _NAMES_A_KEY.fullmatch(tail.upper())
    name = None if key is None else next(_credential_names(key[1], providers), None)
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


def _credential_names(rest: str, providers: InstalledProviders) -> Iterator[str]:
    """Yield the names of credentials that *rest* may mean. Each begins with a provider's name."""
    if providers.owner(rest) is not None:
        yield rest
    matches = get_close_matches(_letters(rest), providers, n=1, cutoff=_CLOSE)
    if matches and matches[0] != ProviderType.LOCAL:
        yield matches[0]


def _letters(name: str) -> str:
    """Return the letters and digits of *name*, in upper case."""
    return re.sub(r"[^A-Z0-9]", "", name.upper())
