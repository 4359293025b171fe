"""The static files of the page, below a path that contains their digest, so that browsers cache them for good."""

import gzip
import re
from functools import cache, partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any, Final

from anyio import to_thread
from litestar import HttpMethod, Response, route
from litestar.exceptions import NotFoundException
from msgspec import Struct

from stepwell.api.auth.dependencies import ApiRequest

_HERE: Final = Path(__file__).parent
# The folders by the first part of the path: "" for those that are served at the top.
_FOLDERS: Final = {"": _HERE / "static", "vendor/": _HERE / "vendor"}
# Litestar adds the charset to every text type.
_MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_IMPORT: Final = re.compile(r'(?:^(?:import|export)\b[^;"]*?\bfrom |\bimport\()"(\.[^"]+)"', re.MULTILINE)
# Lines of comments: those after "//", and blocks that begin and end a line, as JSDoc does.
_COMMENT: Final = re.compile(rb"^[ \t]*(?://.*|/\*\*(?s:(?:(?!\*/).)*)\*/[ \t]*)$", re.MULTILINE)
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_DIGEST_CHARS: Final = 16


class StaticFile(Struct):
    content: bytes
    media_type: str


class StaticFiles(Struct, frozen=True):
    """All static files by their paths, and the digest of them all."""

    files: dict[str, StaticFile]
    digest: str

    def url(self, path: str) -> str:
        """Return the URL of the file *path*. Raises KeyError if there is none, which is a mistake in a template."""
        _ = self.files[path]
        return f"/ui/static/{self.digest}/{path}"

    def modules(self, *paths: str) -> list[str]:
        """Return *paths* and all modules that they import, and so on. Imports with computed names aren't included.

        A page names them all, so that a browser loads them at once instead of one after the other.
        """
        modules = dict.fromkeys(paths)
        waiting = list(paths)
        while waiting:
            path = waiting.pop(0)
            if path.startswith("vendor/"):  # they import nothing
                continue
            for name in _IMPORT.findall(self.files[path].content.decode()):
                imported = normpath(f"{path}/../{name}")
                if imported not in modules:
                    modules[imported] = None
                    waiting.append(imported)
        return list(modules)


@cache
def static_files() -> StaticFiles:
    """Return the files as they were when this was first called. Only types that the page needs are served."""
    files = {
        prefix + path.relative_to(folder).as_posix(): StaticFile(_content(path), _MEDIA_TYPES[path.suffix])
        for prefix, folder in _FOLDERS.items()
        for path in sorted(folder.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    digest = sha256()
    for name, file in files.items():
        digest.update(f"{name}\0{len(file.content)}\0".encode() + file.content)
    return StaticFiles(files, digest.hexdigest()[:_DIGEST_CHARS])


def _content(path: Path) -> bytes:
    """Return the content of a file. Browsers get scripts without lines of comments, which keep their numbers."""
    content = path.read_bytes()
    return _COMMENT.sub(_only_line_ends, content) if path.suffix == ".js" and path.parent.name != "vendor" else content


def _only_line_ends(comment: re.Match[bytes]) -> bytes:
    return b"\n" * comment[0].count(b"\n")


_compressed: Final[dict[str, bytes]] = {}


async def _compress(path: str, file: StaticFile) -> bytes:
    """Return the content of *file* as gzip. Each file is compressed once, in a thread."""
    if (content := _compressed.get(path)) is None:
        content = _compressed[path] = await to_thread.run_sync(partial(gzip.compress, file.content, mtime=0))
    return content


@route("/ui/static/{digest:str}/{file:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
async def static_file(request: ApiRequest) -> Response[Any]:
    """Return a static file. Under another digest than today's it isn't cached.

    During a rolling upgrade, a page of one version may ask a process of another version for its files.
    """
    current = static_files()
    path = str(PurePosixPath(str(request.path_params["file"]).lstrip("/")))
    file = current.files.get(path)
    if file is None:
        raise NotFoundException("The web page has no such file.")
    is_current = request.path_params["digest"] == current.digest
    headers = {
        "Cache-Control": _IMMUTABLE if is_current else "no-store",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        # A web worker gets the policy of its own file, not that of the page.
        "Content-Security-Policy": "default-src 'none'; connect-src 'self'; script-src 'self'",
    }
    content = file.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        content = await _compress(path, file)
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=file.media_type, headers=headers)
