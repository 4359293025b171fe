"""Names that a misspelled one may mean."""

import pytest

from stepwell.domain.spelling import similar_name


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("depend_on", "depends_on"),  # a letter is missing
        ("depends__on", "depends_on"),  # a letter too many
        ("depends-on", "depends_on"),
        ("heigth", "height"),  # two neighbours are exchanged
        ("DEPENDS_ON", "depends_on"),
        ("depends", None),
        ("hight", "height"),
        ("thgieh", None),
        ("abc", None),  # too short to be sure
        ("x" * 256, None),
    ],
)
def test_a_name_is_similar_if_one_edit_leads_to_it(name: str, similar: str | None) -> None:
    assert similar_name(name, ["abd", "depends_on", "height", "x" * 255]) == similar
