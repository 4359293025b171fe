"""The paths of staged files: what a crash may leave behind beside the artifacts."""

import re

from stepwell.basics.artifacts import ARTIFACT_NAME, ArtifactPath, parse_artifact_path

# Stepwell's own staged file, and obstore's staging of any file ("name#1").
_STAGED_NAME = re.compile(rf"\.part-[0-9a-f]{{32}}(?:#[0-9]{{1,9}})?|{ARTIFACT_NAME}#[0-9]{{1,9}}")
_STAND_IN = "x"


def parse_stored_path(path: str) -> ArtifactPath | None:
    """Return the parts of *path*, or None if it is neither an artifact's nor a staged file's."""
    if (whole := parse_artifact_path(path)) is not None:
        return whole
    folder, _, name = path.rpartition("/")
    if _STAGED_NAME.fullmatch(name) is None or (target := parse_artifact_path(f"{folder}/{_STAND_IN}")) is None:
        return None
    return target._replace(name=name)
