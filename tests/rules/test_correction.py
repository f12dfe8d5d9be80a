"""What a person says of a series: checked, named, and carried to other series of the Frame of Reference."""

import pytest

from rules.correction import CorrectionError, Range, carried, checked, named, region_at

HEIGHTS = [-100.0, -95.0, -90.0, -85.0, -80.0]


def test_ranges_are_sorted_and_may_touch() -> None:
    """Which end is written first does not matter; regions follow from the feet up."""
    given = [Range("chest", -80, -90), Range("abdomen", -100, -90)]
    assert checked(given, HEIGHTS) == (Range("abdomen", -100, -90), Range("chest", -90, -80))


@pytest.mark.parametrize(
    ("ranges", "sentence"),
    [
        ([], "1 to 100 ranges"),
        ([Range("chest", -100, -90)] * 101, "1 to 100 ranges"),
        ([Range("torso", -100, -90)], "there is no region 'torso'"),
        ([Range("chest", -100, -90), Range("abdomen", -92, -80)], "overlaps chest by 2 mm"),
        ([Range("chest", 0, 10)], "no image lies between 0 and 10 mm; those of the series lie"),
        ([Range("chest", float("nan"), 10)], "must be finite"),
        ([Range("chest"), Range("head", -100, -90)], "stands alone"),
    ],
)
def test_what_does_not_fit_is_one_sentence(ranges: list[Range], sentence: str) -> None:
    """A correction that contradicts itself or its series is refused."""
    with pytest.raises(CorrectionError, match=sentence):
        checked(ranges, HEIGHTS)


def test_images_without_heights_take_one_region() -> None:
    """Radiographs and planes along the body have no height; one region holds for all of them."""
    with pytest.raises(CorrectionError, match="one region for the whole series"):
        checked([Range("knee", 0, 10)], [])
    [whole] = checked([Range("knee")], [])
    assert (whole.holds(None), whole.holds(3.0)) == (True, True)
    assert named([whole], []).term == "KNEE"


def test_a_series_is_named_by_what_its_images_are_now() -> None:
    """The term follows the rules for verdicts; what lies outside counts for nothing."""
    assert named([Range("chest", -90, -80)], HEIGHTS).term == "CHEST"
    both = [Range("abdomen", -100, -90.5), Range("chest", -90, -80)]
    assert named(both, HEIGHTS).term == "CHESTABDOMEN"
    assert named([Range("head", -100, -95), Range("pelvis", -85, -80)], HEIGHTS).term is None


def test_an_image_where_two_regions_meet_has_none() -> None:
    """As in training: exactly on the border an image is neither."""
    both = [Range("abdomen", -100, -90), Range("chest", -90, -80)]
    assert [region_at(both, z) for z in (-95, -90, -85, 0, None)] == ["abdomen", None, "chest", None, None]


def test_a_correction_reaches_as_far_as_it_goes() -> None:
    """Other series of the place follow where the correction says something, and keep their own elsewhere."""
    images = [(-80.0, "neck"), (-92.0, "abdomen"), (-97.0, "abdomen"), (-70.0, "neck"), (-60.0, "unknown")]
    assert carried([Range("chest", -95, -78)], images) == (
        Range("abdomen", -97, -97),
        Range("chest", -92, -80),
        Range("neck", -70, -70),
    )
    assert carried([Range("chest", 100, 110)], images) is None
    assert carried([Range("chest")], images) is None
