"""What the sections are made of: packed series, kinds of series, stages, and thinning judged."""

from pathlib import Path

import numpy as np
from pydicom import uid

from model.read import read_header, read_pixels
from model.training.stages import SeriesOutput
from tests.bench.gpu import operations
from tests.bench.mixed import KINDS, recipes
from tests.bench.stages import OWN, PLOT, REST, Stages
from tests.bench.thinning import thinned
from tests.bench.through import Course, noisy, packed
from tests.builders import Recipe


def test_a_packed_series_is_a_series(tmp_path: Path) -> None:
    """Images that share one frame are instances of their own, each with its place, of the same pixels."""
    files = packed(tmp_path / "a", Recipe(n=3, rows=512, columns=512, seed="a"), uid.JPEG2000Lossless)
    headers = [read_header(path) for path in files]
    assert {header.transfer_syntax_uid for header in headers} == {uid.JPEG2000Lossless}
    assert len({header.sop_instance_uid for header in headers}) == 3
    assert len({header.position for header in headers}) == 3
    for header in headers:
        assert np.array_equal(read_pixels(header).values, noisy(0, 512, 512).astype(np.float32) - 1024)


def test_mixed_series_are_of_every_kind() -> None:
    """Each kind comes as often as the others, and no two series share a study."""
    made = list(recipes(20, "x"))
    assert len({recipe.series_uid for recipe in made}) == 20
    assert len({recipe.study_seed for recipe in made}) == 20
    assert [recipe.n for recipe in made] == [kind.n for kind in KINDS] * 2


def test_stages_add_up(tmp_path: Path) -> None:
    """The table has every stage, their sum, and what of it is DICOM overhead."""
    found = Stages(300, {"a": {OWN: 0.5, "decode": 2.0, REST: 0.25}}, tmp_path).markdown()
    assert "| **all** | **2.75** |" in found
    assert "| **DICOM overhead** | **0.75** |" in found
    assert (tmp_path / PLOT).is_file()
    course = Course([1.0, 3.0, 2.0], [5.0], [0.4])
    assert "2.00 s a series" in course.told()
    course.forget()
    assert course.worker_cpu_s == []


def test_a_thinned_series_is_what_the_node_would_have() -> None:
    """What was looked at keeps its answer, the rest lies in between, and without thinning nothing changes."""
    probabilities = np.eye(2, dtype=np.float32)[[0, 0, 0, 0, 1]]
    output = SeriesOutput(("a", "b"), probabilities, np.arange(5.0), np.arange(5, dtype=np.float32), 9.0)
    same, looked_at = thinned(output, None)
    assert same is output
    assert looked_at == 5
    made, looked_at = thinned(output, 4.0)
    assert looked_at == 2
    assert np.allclose(made.probabilities[:, 1], [0.0, 0.25, 0.5, 0.75, 1.0])
    assert made.energy is not None
    assert np.allclose(made.energy, np.arange(5.0))


def test_operations_are_counted() -> None:
    """A convolution counts each weight at each place twice, a dense layer each weight twice."""
    import keras

    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same")(image)  # 9 weights, 4 filters, 64 places
    inner = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    outer = keras.Input((8, 8, 1))
    model = keras.Model(outer, keras.layers.Dense(3)(inner(outer)))
    assert operations(model) == 2 * 9 * 4 * 64 + 2 * 4 * 3
