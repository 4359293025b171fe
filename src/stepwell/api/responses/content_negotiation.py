"""Content negotiation by `Accept` (RFC 9110, 12.5.1), for operations that offer another media type beside JSON."""

import re

_QUALITY = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def prefers(accept: list[str], media_type: str) -> bool:
    """Return whether the *accept* headers name *media_type* and don't rank JSON above it. Wildcards mean JSON."""
    ranks: dict[str, float] = {}
    for part in ",".join(accept).split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((match[1] for each in parameters if (match := _QUALITY.fullmatch(each))), "1")
        ranks[kind.lower()] = float(quality)
    rank = ranks.get(media_type, 0.0)
    return rank > 0 and rank >= ranks.get("application/json", 0.0)
