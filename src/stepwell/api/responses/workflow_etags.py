"""The ETags of workflows, of their lists, and of stored definitions. They are made of versions, so comparing them
needs neither steps nor contents.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from uuid import UUID

from msgspec import Struct, json

from stepwell import __version__
from stepwell.lifecycle.preconditions import ReadVersion, Version
from stepwell.lifecycle.records import WorkflowParts

_VERSION = re.compile(r"([0-9]{1,10})-([0-9a-f]{1,16})-[a-z]-.*")
_REVISION = re.compile(r"([0-9]{1,10}-[0-9a-f]{16})-")
_FORMS = {
    WorkflowParts(steps=True, results=True): "s",
    WorkflowParts(steps=False, results=True): "n",
    WorkflowParts(steps=True, results=False): "r",
    WorkflowParts(steps=False, results=False): "m",
}


def workflow_etag(read: ReadVersion, parts: WorkflowParts) -> str:
    return _etag(read.version, _FORMS[parts] + ("" if read.waits_for is None else f"-{read.waits_for}"))


def dry_run_etag(version: Version) -> str:
    """Return the ETag of a dry run on the workflow at *version*. As `If-Match` of the verb, it matches that version."""
    return _etag(version, "d")


def definition_etag(version: Version) -> str:
    return _etag(version, "f")


def stored_definition_etag(revision: str) -> str:
    """Return the ETag of a stored definition in any version. *revision* is that of its name."""
    return f'"{revision}-{__version__}"'


def revision_of(opaque: str) -> str:
    """Return the revision that the ETag of a stored definition names, without its quotes; "" for another text."""
    match = _REVISION.match(opaque)
    return "" if match is None else match[1]


def page_etag(versions: Mapping[UUID, ReadVersion], total: int | None, links: str, query: Struct) -> str:
    """Return the ETag of a page: ids, versions and total of its workflows, its links, and the query.

    The query decides the form.
    """
    return f'"{sha256(json.encode((__version__, list(versions.items()), total, links, query))).hexdigest()[:32]}"'


def version_of(opaque: str) -> Version | None:
    """Return the version that an ETag names, without its quotes. All forms of a workflow name the same version."""
    match = _VERSION.fullmatch(opaque)
    return None if match is None else Version(int(match[1]), int(match[2], 16))


def _etag(version: Version, form: str) -> str:
    # Another release of Stepwell may encode the same version differently, so the release is part of the ETag.
    return f'"{version.last_event}-{version.updated_us:x}-{form}-{__version__}"'
