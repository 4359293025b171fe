"""`Prefer` (RFC 7240): what a request prefers. A preference that can't be parsed is ignored.

`handling=lenient` ignores the unknown members of a JSON body, `handling=strict` refuses them. Without the preference,
the setting STEPWELL_UNKNOWN_FIELDS decides.
"""

import re
from http import HTTPStatus
from typing import NamedTuple

from litestar.types import HTTPResponseStartEvent, Scope

from stepwell.api.requests.headers import APPLIED, PREFER, header_value
from stepwell.api.requests.operations import OPT_KEY, Operation
from stepwell.api.requests.request_resources import resources_of
from stepwell.basics.strict_json.normalise import Handling

MAX_WAIT_S = 60
_MAX_LENGTH = 1000  # characters of the header that are parsed
_PREFERENCE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_WAIT = re.compile(r'wait[ \t]*=[ \t]*("?)0*([0-9]+)\1[ \t]*(?:;.*)?', re.IGNORECASE | re.DOTALL)
_HANDLING = re.compile(r'handling[ \t]*=[ \t]*("?)(strict|lenient)\1[ \t]*(?:;.*)?', re.IGNORECASE | re.DOTALL)
_APPLIED = APPLIED.lower().encode()


class Preferences(NamedTuple):
    """The preferences of a request. `wait_s` is at most 60. A preference that it doesn't have is None."""

    wait_s: int | None = None
    handling: Handling | None = None


def preferences_of(scope: Scope) -> Preferences:
    """Return the preferences of a request. Of several that contradict each other, the first counts."""
    header = header_value(scope, PREFER)
    if header is None:
        return Preferences()
    wait_s: int | None = None
    handling: Handling | None = None
    for text in _PREFERENCE.findall(header[:_MAX_LENGTH]):
        preference = text.strip(" \t")
        if wait_s is None and (match := _WAIT.fullmatch(preference)) is not None:
            wait_s = min(int(match[2]), MAX_WAIT_S)
        elif handling is None and (match := _HANDLING.fullmatch(preference)) is not None:
            handling = Handling(match[2].lower())
    return Preferences(wait_s, handling)


def handling_of(scope: Scope) -> Handling:
    return preferences_of(scope).handling or resources_of(scope).process.handling


def report_handling(start: HTTPResponseStartEvent, scope: Scope) -> None:
    """Add the handling to `Preference-Applied` of a success, if the request asked for it or if it was lenient."""
    # Routing has refused a request without a handler.
    operation: Operation | None = getattr(scope.get("route_handler"), "opt", {}).get(OPT_KEY)
    if operation is None or not operation.reads_json:
        return
    preferred = preferences_of(scope).handling
    handling = preferred or resources_of(scope).process.handling
    if start["status"] >= HTTPStatus.BAD_REQUEST or (preferred is None and handling is Handling.STRICT):
        return
    headers = list(start["headers"])
    others = [value for name, value in headers if name == _APPLIED]
    report = b", ".join([*others, f"handling={handling}".encode()])
    start["headers"] = [*(each for each in headers if each[0] != _APPLIED), (_APPLIED, report)]
