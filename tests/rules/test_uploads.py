"""The names of uploads: safe in any case, and with a suffix that fits the type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.artifacts import MEDIA_TYPES, media_type_of, parse_artifact_path
from stepwell.rules.uploads import ACCEPTED_TYPES, safe_name

FOLDER = "media/01980000-0000-7000-8000-0000000000a1/"


@pytest.mark.parametrize(
    ("name", "media_type", "safe"),
    [
        ("photo.png", "image/png", "photo.png"),
        ("Photo.JPEG", "image/jpeg", "Photo.jpeg"),
        ("photo.png", "image/jpeg", "photo.png.jpg"),
        ("../../etc/passwd", "text/plain", "passwd.txt"),
        ("C:\\Users\\me\\film.mov", "video/quicktime", "film.mov"),
        ("page.svg", "text/plain", "page.svg.txt"),
        (".htaccess", "text/plain", "htaccess.txt"),
        ("", "application/json", "file.json"),
        ("...", "image/gif", "file.gif"),
        ("a b\n\x00ü?.webp", "image/webp", "a_b_.webp"),
        ("x" * 500 + ".png", "image/png", "x" * 80 + ".png"),
    ],
)
def test_a_name_is_reduced_to_safe_characters(name: str, media_type: str, safe: str) -> None:
    assert safe_name(name, media_type) == safe


@given(name=st.text(), media_type=st.sampled_from(sorted(ACCEPTED_TYPES)))
def test_any_name_is_that_of_an_artifact_of_its_type(name: str, media_type: str) -> None:
    path = FOLDER + safe_name(name, media_type)
    assert parse_artifact_path(path) is not None
    assert path.rpartition(".")[2] in ACCEPTED_TYPES[media_type]
    if media_type in MEDIA_TYPES:
        assert media_type_of(path) == media_type
    else:
        assert not media_type_of(path).startswith(("image/", "video/", "audio/"))
