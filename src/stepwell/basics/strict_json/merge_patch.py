"""JSON Merge Patch (RFC 7396): https://www.rfc-editor.org/rfc/rfc7396"""

from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """Return *target* with the members of *patch*, object by object. null removes a member.

    Neither of them is changed.
    """
    if not isinstance(patch, dict):
        return patch
    merged: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
