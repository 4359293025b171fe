"""The operations of the manual: its pages as HTML, without a token."""

from functools import partial
from typing import Any

from anyio import to_thread
from litestar import Response

from stepwell.api.dependencies import ApiRequest
from stepwell.api.manual_pages import FIRST_PAGE, PAGES, render_page
from stepwell.api.operations import Content, Operation, endpoint
from stepwell.api.page_style import page_answer
from stepwell.api.problems import path_not_found
from stepwell.api.system import TAG

MANUAL = Operation(
    method="GET",
    path="/manual",
    id="manual",
    summary="The manual",
    description="The first page of the manual.",
    tag=TAG,
    permission=None,
    answers=Content("text/html"),
)
MANUAL_PAGE = Operation(
    method="GET",
    path="/manual/{page}",
    id="manual_page",
    summary="A page of the manual",
    description="A page of the manual, by its name.",
    tag=TAG,
    permission=None,
    answers=Content("text/html"),
    problems=(404,),
)


@endpoint(MANUAL)
async def manual() -> Response[bytes]:
    return await _answer(FIRST_PAGE)


@endpoint(MANUAL_PAGE)
async def manual_page(request: ApiRequest) -> Response[Any]:
    page = str(request.path_params["page"])
    if page not in PAGES:
        return path_not_found(request, f"The manual has no such page. Its pages are {', '.join(PAGES)}.")
    return await _answer(page)


async def _answer(page: str) -> Response[bytes]:
    # In a thread, because the first request for a page renders it.
    return page_answer(await to_thread.run_sync(partial(render_page, page)))


HANDLERS = (manual, manual_page)
