"""Seeds that stay the same."""

import hashlib
from uuid import UUID


def drawn_seed(workflow_id: UUID, position: int) -> int:
    """The seed of a step that was given none, 0 to 2**31 - 1: the same for all its attempts, so that a retry draws the
    same picture, and as good as random between workflows.
    """
    digest = hashlib.sha256(workflow_id.bytes + position.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:4], "big") >> 1
