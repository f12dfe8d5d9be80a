"""What the demonstration expects of its sample series."""

from pathlib import Path

import pytest

from model.training.demonstration import Series, regions_of


@pytest.mark.parametrize(
    ("text", "regions"),
    [("hand", {"hand"}), ("pelvis/hip", {"pelvis"}), ("neck (C5..C2)", {"neck"}),
     ("lumbar spine", {"lspine"}), ("abdomen-chest", {"abdomen_chest"}), ("calf/foot-transition", set()),
     ("abdomen+pelvis (2 axial abdomen, 2 coronal)", {"abdomen", "pelvis"})],
)  # fmt: skip
def test_free_text_of_the_samples(text: str, regions: set[str]) -> None:
    """The samples' manifests name regions in free text; transitions are not scored."""
    assert regions_of(text, "CT") == regions


def test_expected_region_by_slice() -> None:
    """A slice outside every range has nothing expected of it."""
    sample = Series(Path("x"), ((0, 2, frozenset({"hand"})),))
    assert sample.expected(2) == {"hand"}
    assert sample.expected(3) == frozenset()
