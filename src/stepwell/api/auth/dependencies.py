"""The types of the handlers' parameters: the request with its caller, and the arguments of `build_api`.

The names of the handlers' parameters are the keys of `build_api`'s dependencies.
"""

from typing import Any, TypeAlias

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct

from stepwell.api.auth.authentication import Principal
from stepwell.api.auth.session_cookies import SessionCookies
from stepwell.engine.service import Services
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.clock import Clock
from stepwell.rules.access.cursors import PageCursors
from stepwell.rules.access.signed_urls import DecisionLinks, SignedUrls
from stepwell.rules.access.stream_tickets import StreamTickets
from stepwell.runtime.telemetry import Metrics


class ApiDescription(Struct, frozen=True):
    """The OpenAPI document as it is served."""

    json: bytes


ApiRequest: TypeAlias = Request[Principal, Any, Any]
ServicesDep: TypeAlias = NamedDependency[SkipValidation[Services]]
ArtifactsDep: TypeAlias = NamedDependency[SkipValidation[Artifacts]]
SignedUrlsDep: TypeAlias = NamedDependency[SkipValidation[SignedUrls]]
ClockDep: TypeAlias = NamedDependency[SkipValidation[Clock]]
TicketsDep: TypeAlias = NamedDependency[SkipValidation[StreamTickets]]
SessionCookiesDep: TypeAlias = NamedDependency[SkipValidation[SessionCookies]]
DecisionLinksDep: TypeAlias = NamedDependency[SkipValidation[DecisionLinks]]
CursorsDep: TypeAlias = NamedDependency[SkipValidation[PageCursors]]
MetricsDep: TypeAlias = NamedDependency[SkipValidation[Metrics]]
DescriptionDep: TypeAlias = NamedDependency[SkipValidation[ApiDescription]]
