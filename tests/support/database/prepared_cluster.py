"""The PostgreSQL cluster of a data folder that a service has used, as a model for copies.

A copy takes a tenth of a second. `initdb` and the migration take some seconds.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import migrate
from support.database.postgres import QUICK, TestServer, fresh_folder


@contextmanager
def prepared_cluster() -> Iterator[Path]:
    """Yield the folder `postgres` of a data folder. Its database has all tables, and its server has ended."""
    with fresh_folder() as folder:
        root = folder / "postgres"
        with _running(root, QUICK) as postgres:
            asyncio.run(migrate(postgres.dsn()))
        yield root


def copy_cluster(cluster: Path, data_dir: Path) -> None:
    """Make the data folder *data_dir* with a copy of the cluster, whose files keep their owner."""
    data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700)
    subprocess.run(["cp", "-a", cluster, data_dir / "postgres"], check=True)


@contextmanager
def running_copy(cluster: Path, settings: Mapping[str, str]) -> Iterator[TestServer]:
    """Run a server on a copy of the cluster; *settings* go over `QUICK`. Main thread only."""
    with fresh_folder() as folder:
        copy_cluster(cluster, folder / "data")
        root = folder / "data/postgres"
        with _running(root, {**QUICK, **settings}) as postgres:
            yield TestServer(postgres, root)


@contextmanager
def _running(root: Path, settings: Mapping[str, str]) -> Iterator[EmbeddedPostgres]:
    binaries = os.environ.get("STEPWELL_POSTGRES_BIN")
    postgres = EmbeddedPostgres(root, binaries=Path(binaries) if binaries else None, settings=settings)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.stop()
