"""The operations of the manual: its pages as HTML, and their images, without a token."""

from functools import partial
from typing import Any, Final

from anyio import to_thread
from litestar import Response
from litestar.exceptions import NotFoundException

from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.operations import Content, Operation, endpoint
from stepwell.api.responses.page_style import page_response
from stepwell.api.routes.manual_pages import FIRST_PAGE, PAGES, read_images, render_page
from stepwell.api.routes.system import TAG

MANUAL = Operation(
    method="GET",
    path="/manual",
    id="manual",
    summary="The manual",
    description="The first page of the manual.",
    tag=TAG,
    permission=None,
    response=Content("text/html"),
)
MANUAL_PAGE = Operation(
    method="GET",
    path="/manual/{page}",
    id="manual_page",
    summary="A page of the manual",
    description="A page of the manual, by its name.",
    tag=TAG,
    permission=None,
    response=Content("text/html"),
    problems=(404,),
)
MANUAL_IMAGE = Operation(
    method="GET",
    path="/manual/images/{image}",
    id="manual_image",
    summary="An image of the manual",
    description="An image of a page of the manual, by its file name.",
    tag=TAG,
    permission=None,
    response=Content("image/webp", binary=True),
    problems=(404,),
)
# An upgrade may bring other images under the same names.
_IMAGE_HEADERS: Final = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}


@endpoint(MANUAL)
async def manual() -> Response[bytes]:
    return await _response(FIRST_PAGE)


@endpoint(MANUAL_PAGE)
async def manual_page(request: ApiRequest) -> Response[Any]:
    page = str(request.path_params["page"])
    if page not in PAGES:
        raise NotFoundException(f"The manual has no such page. Its pages are {', '.join(PAGES)}.")
    return await _response(page)


@endpoint(MANUAL_IMAGE)
async def manual_image(request: ApiRequest) -> Response[Any]:
    # In a thread, because the first request reads the files.
    image = (await to_thread.run_sync(read_images)).get(str(request.path_params["image"]))
    if image is None:
        raise NotFoundException("The manual has no such image.")
    return Response(image, media_type="image/webp", headers=_IMAGE_HEADERS)


async def _response(page: str) -> Response[bytes]:
    # In a thread, because the first request for a page renders it.
    return page_response(await to_thread.run_sync(partial(render_page, page)), images=True)
