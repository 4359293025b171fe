"""The page of a decision link, on which anyone who has the link decides for one step.

What must hold:
- GET and HEAD have no effect: mail scanners and browsers that load ahead open links. Only the form decides, by POST.
- The link is the only authorisation. No cookie or token counts, so a forged form of another page could only use a link
  that its author has, and with it the author could decide anyway. Nobody can frame the page either.
- The page shows what is to be decided and nothing else of the tenant: no ids, no names, no other steps.
- A link whose wait has ended gets a 410 which says what happened. Whether a forged link names a step isn't shown.
- A use counts for the tenant whose step it is. The uses of a link are limited, and so are those of an address. The
  memory of the limits is bounded.
- The link is in no `Referer`, no cache and no search engine. The page needs no scripts.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from litestar import HttpMethod, route
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response import Template
from msgspec import Struct, json

from stepwell.api.auth.dependencies import ApiRequest, ClockDep, DecisionLinksDep, ServicesDep, SignedUrlsDep
from stepwell.api.requests.query_parameters import first_values
from stepwell.api.requests.request_bodies import read_any_body
from stepwell.api.requests.request_resources import RequestResources, resources_of
from stepwell.basics.artifacts import is_image, media_type_of, parse_artifact_path
from stepwell.basics.client_address import client_name
from stepwell.basics.errors import NotFound, NotWaiting, TooManyRequests, Unavailable
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.workflows import MAX_NOTE, CreateDecision
from stepwell.engine.reads.read_service import ShownDecision
from stepwell.engine.service import Services
from stepwell.lifecycle.wait_ends import LINK_ACTOR, describe_end_to_anyone
from stepwell.lifecycle.waits import is_over
from stepwell.ports.clock import Clock
from stepwell.rules.access.attempt_limit import AttemptLimit
from stepwell.rules.access.signed_urls import DECISION_PATH, SIGNATURE, DecisionLink, DecisionLinks, SignedUrls

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SHOWN_TYPES: Final = ("image/", "video/")  # the page links all other files
_CHOICE_WIDTH: Final = 512  # pixels of the preview of a picture that is a choice
_FILES_S: Final = 900  # how long the URLs of the page's files are valid
_MAX_FORM_BYTES: Final = 64 * 1024
_MAX_FIELDS: Final = 8
_LONGEST_SHOWN: Final = 4_000  # characters of an input
_PER_LINK: Final = (30, 2.0)  # uses at once, and the seconds for each further one
_PER_ADDRESS: Final = (60, 1.0)
_NO_LINK: Final = "This link isn't valid. It may be incomplete: copy all of it."
_EXPIRED: Final = "This link has expired."
_TOO_LATE: Final = "The time for this decision has passed."
_TOO_OFTEN: Final = "Too many requests. Try again in {} s."
_NOT_NOW: Final = "The service can't record a decision now. Try again in a few seconds."
_NO_CHOICE: Final = "Choose one of these."
_LONG_NOTE: Final = f"A note has at most {MAX_NOTE:,} characters."
_BAD_NOTE: Final = "A note has no NUL character."


class DecisionPageLimits(Struct, frozen=True):
    """The limits of the uses of decision links in this process."""

    links: AttemptLimit
    addresses: AttemptLimit

    def use(self, signature: str, address: str, now: float) -> int:
        """Count a use, and return 0. If a limit is used up, return the seconds to wait instead."""
        return self.addresses.count(address, now) or self.links.count(signature, now)


def decision_page_limits() -> DecisionPageLimits:
    (link_burst, link_s), (burst, pause_s) = _PER_LINK, _PER_ADDRESS
    return DecisionPageLimits(
        AttemptLimit(burst=link_burst, pause_s=link_s), AttemptLimit(burst=burst, pause_s=pause_s)
    )


DecisionPageLimitsDep: TypeAlias = NamedDependency[SkipValidation[DecisionPageLimits]]


class _Choice(Struct, frozen=True):
    """A choice as the page shows it: its value, its text, and the URL of its picture if it is one."""

    value: str
    text: str
    picture: str | None


class _Use(Struct, frozen=True):
    """One request by a link, with what it needs."""

    services: Services
    urls: SignedUrls
    clock: Clock
    link: DecisionLink
    resources: RequestResources

    async def find(self) -> ShownDecision | Template:
        """Return the open decision, or the page that says how the wait has ended. Raises `TooManyRequests`."""
        decision = await self.services.reads.decision(EVERY_TENANT, self.link.workflow_id, self.link.position)
        if decision is None or decision.stored.wait.id != self.link.wait_id:
            return await self.ended()
        self.resources.count_for(decision.stored.tenant)
        if is_over(decision.stored.wait, self.clock.now()):  # although it may not be recorded yet
            return _message(HTTPStatus.GONE, _TOO_LATE)
        return decision

    async def ended(self) -> Template:
        try:
            step = await self.services.reads.step_at(EVERY_TENANT, self.link.workflow_id, self.link.position)
        except NotFound:
            return _message(HTTPStatus.GONE, "What was to be decided is deleted.")
        return _message(HTTPStatus.GONE, describe_end_to_anyone(step))

    def form(
        self, decision: ShownDecision, status: HTTPStatus = HTTPStatus.OK, error: str = "", note: str = ""
    ) -> Template:
        end, stored = self.clock.now() + timedelta(seconds=_FILES_S), decision.stored
        files = [(name, path, self.urls.target_until(path, end)) for name, path in decision.files]
        choices = _choices(stored.wait.choices, {path: url for _, path, url in files})
        shown = {choice.value for choice in choices if choice.picture}
        files = [file for file in files if file[1] not in shown]
        texts = _texts(json.decode(stored.shown), {path for _, path in decision.files})
        context = {
            "message": stored.wait.message or "Please decide.",
            "until": stored.wait.until,
            "images": [(name, url) for name, path, url in files if is_image(path)],
            "videos": [(name, url) for name, path, url in files if media_type_of(path).startswith("video/")],
            "downloads": [(name, url) for name, path, url in files if not media_type_of(path).startswith(_SHOWN_TYPES)],
            "texts": texts,
            "choices": choices,
            "has_pictures": any(choice.picture for choice in choices),
            "error": error,
            "note": note,
            "max_note": MAX_NOTE,
        }
        return Template("decide.html", context=context, status_code=status, headers=_HEADERS)


@route(DECISION_PATH, http_method=[HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST], include_in_schema=False)
async def decision_page(
    request: ApiRequest,
    services: ServicesDep,
    decision_links: DecisionLinksDep,
    signed_urls: SignedUrlsDep,
    clock: ClockDep,
    decision_limits: DecisionPageLimitsDep,
) -> Template:
    """Show the form, or decide by it."""
    link = _link(request, decision_links, clock, decision_limits)
    if isinstance(link, Template):
        return link
    decides = request.method == HttpMethod.POST
    fields = first_values(await read_any_body(request, _MAX_FORM_BYTES), _MAX_FIELDS) if decides else {}
    use = _Use(services, signed_urls, clock, link, resources_of(request.scope))
    try:
        decision = await use.find()
        if isinstance(decision, Template):
            return decision
        if not decides:
            return use.form(decision)
        return await _decide(use, decision, fields.get("choice", ""), fields.get("note", "").strip())
    except (Unavailable, TooManyRequests) as error:
        return _message(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_NOW, error.retry_after_s)


async def _decide(use: _Use, decision: ShownDecision, choice: str, note: str) -> Template:
    error = _LONG_NOTE if len(note) > MAX_NOTE else _BAD_NOTE if "\x00" in note else ""
    if error or choice not in decision.stored.wait.choices:
        return use.form(decision, HTTPStatus.UNPROCESSABLE_ENTITY, error or _NO_CHOICE, note[:MAX_NOTE])
    scope, link = TenantScope(decision.stored.tenant), use.link
    try:
        step = await use.services.reads.step_at(scope, link.workflow_id, link.position)
        wanted = CreateDecision(choice=choice, note=note or None)
        await use.services.workflows.decide(scope, LINK_ACTOR, link.workflow_id, step, wanted, wait_id=link.wait_id)
    except (NotWaiting, NotFound):
        return await use.ended()
    path = parse_artifact_path(choice)
    return _message(
        HTTPStatus.OK, f"Recorded: {path.name if path else choice}. You can close this page.", title="Thank you"
    )


def _link(
    request: ApiRequest, links: DecisionLinks, clock: Clock, limits: DecisionPageLimits
) -> DecisionLink | Template:
    """Return the link of the request; or the page that says why it is none, or that it is used too often."""
    signature = first_values(request.scope["query_string"], _MAX_FIELDS).get(SIGNATURE, "")
    link = links.read(signature)
    client = client_name(request.client.host if request.client else "")
    # A forged link isn't remembered, so that nobody can push the real ones out.
    user = signature if link is not None else client
    if wait_s := limits.use(user, client, clock.monotonic()):
        return _message(HTTPStatus.TOO_MANY_REQUESTS, _TOO_OFTEN.format(wait_s), wait_s)
    if link is None:
        return _message(HTTPStatus.NOT_FOUND, _NO_LINK)
    return _message(HTTPStatus.GONE, _EXPIRED) if link.has_expired(clock.now()) else link


def _message(status: HTTPStatus, text: str, retry_after_s: int | None = None, title: str = "Decision") -> Template:
    headers = _HEADERS if retry_after_s is None else _HEADERS | {"Retry-After": str(retry_after_s)}
    context = {"heading": title, "text": text}
    return Template("decided.html", context=context, status_code=status, headers=headers)


def _texts(inputs: dict[str, Any], files: set[str]) -> list[tuple[str, str]]:
    """Return the inputs that are neither files nor lists of files, each as a text."""
    texts = {
        name: value if isinstance(value, str) else json.encode(value).decode()
        for name, value in inputs.items()
        if value is not None and not _is_shown(value, files)
    }
    return [
        (name, text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…") for name, text in texts.items()
    ]


def _is_shown(value: Any, files: set[str]) -> bool:
    all_of_it = value if isinstance(value, list) and value else [value]
    return all(isinstance(each, str) and each in files for each in all_of_it)


def _choices(values: Sequence[str], urls: dict[str, str]) -> list[_Choice]:
    """Return the choices. One that is the path of a file has that file's name as its text, numbered if several have it.

    *urls* are those of the files, by their paths.
    """
    paths = {value: path for value in values if value in urls and (path := parse_artifact_path(value))}
    counts = Counter(path.name for path in paths.values())
    choices = []
    for number, value in enumerate(values, start=1):
        if path := paths.get(value):
            text = path.name if counts[path.name] == 1 else f"{path.name}, {number} of {len(values)}"
            choices.append(_Choice(value, text, f"{urls[value]}&w={_CHOICE_WIDTH}" if is_image(value) else None))
        else:
            choices.append(_Choice(value, value, None))
    return choices
