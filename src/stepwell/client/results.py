"""Answers of the client that add members to structs of the contract."""

from typing import Self
from urllib.parse import parse_qsl

from stepwell.contract.events import FeedEventPublic
from stepwell.contract.workflows import WorkflowListResponse


class ListPage(WorkflowListResponse):
    """A page of workflows. `next_cursor` leads to the next page; None if this is the last one."""

    next_cursor: str | None = None

    @classmethod
    def of(cls, page: WorkflowListResponse, link: str | None) -> Self:
        """Return *page*, with the cursor in the *link* to the next one."""
        return cls(page.workflows, page.total, page.skip, page.limit, cursor_of(link))


def cursor_of(link: str | None) -> str | None:
    """Return the cursor in the *link* to the next page; None without a link."""
    query = "" if link is None else link.partition("?")[2]
    return dict(parse_qsl(query)).get("cursor")


class FeedItem(FeedEventPublic):
    """An event with its workflow. `cursor` is the position after it in the feed."""

    cursor: str = ""
