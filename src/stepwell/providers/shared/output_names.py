"""Names of members that the results of several providers may have, for their descriptors."""

from typing import Final

# Facts about an output, which any provider may report.
_REPORTED: Final = frozenset({"nsfw", "revised_prompt", "content_credentials_removed"})
_FILE: Final = _REPORTED | {"width", "height", "format", "size"}
IMAGE: Final = _FILE | {"result_image_path"}
IMAGES: Final = _FILE | {"result_image_path", "result_image_paths"}
VIDEO: Final = _FILE | {"result_video_path"}
VIDEOS: Final = _FILE | {"result_video_path", "result_video_paths"}
TEXT: Final = _REPORTED | {"result_text", "result_json"}
SEED: Final = frozenset({"seed"})
USE: Final = frozenset({"model", "usage"})
