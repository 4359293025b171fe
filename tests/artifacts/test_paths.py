"""No name gets out of the store: a corpus of what has been tried on others, and what links on the disk could do."""

from pathlib import Path

import pytest

from stepwell.artifacts.disk import parse_stored_path
from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.basics.artifacts import parse_artifact_path
from stepwell.basics.errors import ArtifactError, ArtifactGone


def unchanged(secret: Path) -> bool:
    return secret.read_bytes() == b"secret"


def listing(folder: Path) -> list[Path]:
    return list(folder.iterdir())


ID = "0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b"

NAMES = [
    "..", ".", "", " ", "../x", "..\\x", "x/../y", "x/..", "./x", "x/.", "/x", "//x", "\\x", "\\\\host\\share",
    "x\\y", "C:\\x", "C:/x", "C:x", "c$", "\\\\.\\pipe\\x", "\\\\?\\C:\\x", "x\0", "\0", "x\0.png", "..\0", "x\n",
    "\nx", "x\r", "x\t", "x\x7f", "x\x1b[2J", "x\x85", "%2e%2e", "%2e%2e%2fx", "%2E%2E%5Cx", "..%2fx", "..%5cx",
    "%252e%252e%252fx", "%c0%ae%c0%ae", "%c0%af", "%e0%80%ae", "%uff0e", "%00", "x%00.png", "x%2fy", "x%", "%",
    "..;/x", "..;", ";x", ".\u200b.", "\u202egnp.x", "\uff0e\uff0e", "\uff0e\uff0e/x", "\uff0e\uff0e\uff0fx",
    "\u2024\u2024", "\u2025", "\u2026", "x\u2044y", "x\u2215y", "x\uff0fy", "x\u29f8y", "x\uff3cy", "\u2216x",
    "e\u0301.png", "\xe9.png", "\u0130.png", "\u212a.png", "\ufeffx", "\xa0x", "x\u3000", "\ud800", "x\udcff",
    "\U0001f600", "....//x", "....\\\\x", ".../x", "...", "..../", ".x", ".htaccess", ".part-", ".part-0", "-rf",
    "--help", "~", "~root", "~/x", "$HOME", "${IFS}", "`id`", "$(id)", "x;id", "x|id", "x&id", "x>y", "x<y", "x*",
    "x?", "x[0]", "{x,y}", "x'y", 'x"y', "x#", "x#a", "#1", "x?y=1", "x#1/../../y", "x:y", "x::$DATA", "@x", "x y",
    "x,y", "x+y", "x=y", "x!", "x^y", "a" * 101, "a" * 300, "a" * 5_000, "a/b", "a/b/c", "a//b", "a/",
    "file:///etc/passwd", "http://x/y", "data:,x", "media/", "../../../etc/passwd", "..\\..\\..\\windows\\win.ini",
    "/proc/self/environ", "/dev/zero", "x/../../../../etc/passwd", "_x", "__init__",
]  # fmt: skip

WHOLE = [
    "", "/", ".", "..", "media", "media/", "media//", f"media/{ID}", f"media/{ID}/", f"/media/{ID}/x.png",
    f"./media/{ID}/x.png", f"media/./{ID}/x.png", f"media//{ID}/x.png", f"media/{ID}//x.png", f"Media/{ID}/x.png",
    f"MEDIA/{ID}/x.png", f"media\\{ID}\\x.png", f"media/{ID.upper()}/x.png", f"media/{{{ID}}}/x.png",
    f"media/{ID.replace('-', '')}/x.png", f"media/urn:uuid:{ID}/x.png", f"media/{ID}x/x.png", f"media/{ID[:-1]}/x.png",
    f"media/../{ID}/x.png", f"media/../media/{ID}/x.png", f"media/{ID}/../{ID}/x.png", "media/../../etc/passwd",
    f"other/{ID}/x.png", f"{ID}/x.png", f" media/{ID}/x.png", f"media/{ID}/x.png ", f"media/{ID}/x.png\n",
    f"media/{ID}/x.png\0", f"media/{ID}\0/x.png", f"media/%2e%2e/{ID}/x.png", f"media%2f{ID}%2fx.png",
    f"media/{ID}/sub/x.png", f"media/\uff10{ID[1:]}/x.png", f"media/\u0660{ID[1:]}/x.png", f"file:media/{ID}/x.png",
]  # fmt: skip

REFUSED = [*(f"media/{ID}/{name}" for name in NAMES), *WHOLE]


def test_the_corpus_has_at_least_a_hundred_names() -> None:
    assert len(set(NAMES)) >= 100


@pytest.mark.parametrize("path", REFUSED, ids=ascii)
async def test_a_foreign_path_is_refused_by_every_call(store: ObstoreArtifacts, root: Path, path: str) -> None:
    with pytest.raises(ArtifactError):
        await store.put(path, b"x")
    for call in (store.get, store.delete):
        with pytest.raises(ArtifactGone) as refusal:
            await call(path)
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 300
    with pytest.raises(ArtifactGone):
        async with store.stream(path):
            pass
    assert listing(root) == []


@pytest.mark.parametrize("name", ["x", "x.png", "0", "a-b_c.d", "A.PNG", "x..png", "a" * 100])
async def test_an_ordinary_name_is_accepted(store: ObstoreArtifacts, name: str) -> None:
    await store.put(f"media/{ID}/{name}", b"x")
    assert await store.get(f"media/{ID}/{name}") == b"x"


def test_the_names_of_staged_files_are_accepted_only_by_their_own_parser() -> None:
    for name in ("x.png#1", ".part-" + "0" * 32, ".part-" + "0" * 32 + "#1"):
        assert parse_artifact_path(f"media/{ID}/{name}") is None
        assert parse_stored_path(f"media/{ID}/{name}") == (ID, name)


class TestLinks:
    """Someone with a shell put symbolic links into the store."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        file = tmp_path / "outside" / "secret.txt"
        file.parent.mkdir()
        file.write_bytes(b"secret")
        return file

    async def test_a_link_that_leads_out_of_the_store_is_not_read(
        self, store: ObstoreArtifacts, root: Path, secret: Path
    ) -> None:
        (root / "media" / ID).mkdir(parents=True)
        (root / "media" / ID / "x.txt").symlink_to(secret)
        with pytest.raises(ArtifactGone):
            await store.get(f"media/{ID}/x.txt")
        with pytest.raises(ArtifactGone):
            async with store.stream(f"media/{ID}/x.txt"):
                pass

    async def test_writing_and_deleting_affect_the_link_and_not_its_target(
        self, store: ObstoreArtifacts, root: Path, secret: Path
    ) -> None:
        (root / "media" / ID).mkdir(parents=True)
        for name in ("x.txt", "y.txt"):
            (root / "media" / ID / name).symlink_to(secret)
        await store.put(f"media/{ID}/x.txt", b"mine")
        await store.delete(f"media/{ID}/y.txt")
        assert unchanged(secret)
        assert await store.get(f"media/{ID}/x.txt") == b"mine"

    async def test_a_folder_that_leads_out_of_the_store_is_not_entered(
        self, store: ObstoreArtifacts, root: Path, secret: Path
    ) -> None:
        (root / "media").mkdir()
        (root / "media" / ID).symlink_to(secret.parent)
        path = f"media/{ID}/{secret.name}"
        with pytest.raises(ArtifactGone):
            await store.get(path)
        with pytest.raises(ArtifactGone):
            await store.delete(path)
        with pytest.raises(ArtifactError):
            await store.put(path, b"mine")
        assert [page async for page in store.paths()] == []
        assert unchanged(secret)
        assert listing(secret.parent) == [secret]
