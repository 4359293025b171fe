"""The names of downloaded files: safe, unique, and the same each time."""

import re

from hypothesis import given
from hypothesis import strategies as st

from stepwell.cli.workflow_commands.download_names import download_names


def test_plain_names_are_a_folder_for_each_step() -> None:
    names = download_names(
        {"media/1/image.png": "generate", "media/1/image-2.png": "generate", "media/2/a.mp4": "Film"}
    )
    assert {path: str(name) for path, name in names.items()} == {
        "media/1/image.png": "generate/image.png",
        "media/1/image-2.png": "generate/image-2.png",
        "media/2/a.mp4": "Film/a.mp4",
    }


def test_unsafe_and_repeated_names_get_a_hash() -> None:
    names = download_names(
        {"media/1/..": "../../etc", "media/2/x.png": "a/b", "media/3/x.png": "A_b", "/x/.hidden": "a_b"}
    )
    assert [str(name) for name in names.values()] == [
        "_.-74ccf3c5b4c1._etc/_-a9a2b49211c7",
        "a_b-c14cddc033f6/x.png",
        "A_b-08eb65adb1a8/x.png",
        "a_b-648fa9b31bc7/hidden-ec1df0d6968d",
    ]


text = st.text(st.sampled_from("aA.-_/\\ \0é0"), max_size=6)


@given(st.dictionaries(text.map(lambda name: f"media/{name}"), text | st.just("a-0123456789ab"), max_size=8))
def test_no_name_escapes_or_collides(step_of_path: dict[str, str]) -> None:
    names = download_names(step_of_path)
    assert names.keys() == step_of_path.keys()
    assert len({str(name).lower() for name in names.values()}) == len(names)
    for name in names.values():
        folder, file = name.parts
        for part in (folder, file):
            assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", part)
    assert download_names(step_of_path) == names
