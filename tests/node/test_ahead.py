"""Processes that decode ahead of the network: the same answers in the same order, and their ends."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pydicom.uid import JPEG2000Lossless

from model.classify import SHIPPED, Classifier, model_input
from model.read import Image, ImageHeader, read_header, read_pixels
from model.runtimes import ONNXRUNTIME, Engine
from node import wholes
from node.ahead import AHEAD, DecoderDied, Decoders
from node.looking import Looking
from node.settings.config import Config
from node.worker import classify, decoders_of
from tests.builders import SAGITTAL, Recipe, write
from tests.harness import wait_until


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The shipped networks."""
    return Classifier.load(SHIPPED, Engine(ONNXRUNTIME))


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """Two processes."""
    made = Decoders(2, None)
    yield made
    made.close()


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> list[ImageHeader]:
    """More images than the processes may be ahead: plain, compressed, broken, large and sagittal ones."""
    folder = tmp_path_factory.mktemp("ahead")
    native = write(folder / "a", Recipe(n=2 * AHEAD + 5, seed="a"))
    packed = write(folder / "b", Recipe(n=4, seed="b", transfer_syntax=JPEG2000Lossless))
    broken = write(folder / "c", Recipe(n=1, seed="c", overrides={"PixelData": b"x" * 8}))
    large = write(folder / "d", Recipe(n=1, seed="d", rows=1300, columns=1200))
    upright = write(folder / "e", Recipe(n=2, seed="e", modality="MR", orientation=SAGITTAL))
    return [read_header(path) for path in (*packed, *native[:7], *broken, *large, *upright, *native[7:])]


def children() -> set[int]:
    """Return the numbers of this process's children."""
    return {each.pid for each in psutil.Process().children()}


def test_images_are_those_of_this_process(
    classifier: Classifier, decoders: Decoders, headers: list[ImageHeader]
) -> None:
    """Inputs, reasons and pixels come in order and are bit for bit what decoding here gives."""
    definition = classifier.definition("CT")
    found = list(decoders.images(headers, definition, True))
    assert [made.header for made in found] == headers
    assert sum(made.reason is not None for made in found) == 1
    here = Looking(classifier, lambda: None)
    expected = iter([model_input(image, definition) for image in here._here(headers, [])])
    for made in found:
        if made.given is None:
            assert (made.header, made.reason) == here.undecodable[0]
            continue
        assert np.array_equal(made.given, next(expected))
        image = read_pixels(made.header)
        assert made.image is not None
        assert np.array_equal(made.image.values, image.values)
        assert np.array_equal(made.image.valid, image.valid)
        assert made.image.spacing_mm == image.spacing_mm
    assert all(made.image is None for made in decoders.images(headers, definition, False))


def test_a_series_gets_the_same_outcome(classifier: Classifier, decoders: Decoders, tmp_path: Path) -> None:
    """Whether the worker decodes itself or not, the outcome is the same, and each image is looked at once."""
    found = [read_header(path) for path in write(tmp_path, Recipe(n=20, step_mm=3.0))]
    broken = replace(found[7], path=tmp_path / "gone")
    series = [*found[:7], broken, *found[8:]]
    outcomes, looks = [], []
    for each in (None, decoders):
        seen: list[str] = []

        def look(header: ImageHeader, _image: Image, seen: list[str] = seen) -> None:
            seen.append(header.sop_instance_uid)

        outcomes.append(classify(series, Config.standalone(), classifier, lambda: None, (), look, each))
        looks.append(seen)
    assert outcomes[0].images == outcomes[1].images
    assert outcomes[0].verdict is not None
    assert outcomes[1].verdict is not None
    assert outcomes[0].verdict.spans == outcomes[1].verdict.spans
    assert looks[0] == looks[1]
    assert len(looks[0]) == 19


def test_no_more_than_a_few_images_are_made_ahead(classifier: Classifier, headers: list[ImageHeader]) -> None:
    """Of however many images, each process makes a bounded number that nobody asked for yet."""
    decoders = Decoders(2, None)
    asked: list[ImageHeader] = []

    class Counted(list[ImageHeader]):
        """A series that notes which of its images were asked for."""

        def __getitem__(self, index: Any) -> Any:
            asked.append(super().__getitem__(index))
            return asked[-1]

    images = decoders.images(Counted(headers * 100), classifier.definition("CT"), False)
    for taken in range(1, 40):
        next(images)
        assert len(asked) <= taken + 2 * AHEAD
    images.close()  # type: ignore[attr-defined]


def test_a_crash_is_told_and_the_next_series_goes_on(
    classifier: Classifier, headers: list[ImageHeader]
) -> None:
    """A process that is killed ends the series with its signal's name, all end, and new ones start."""
    before = children()
    decoders = Decoders(2, None)
    images = decoders.images(headers * 20, classifier.definition("CT"), False)
    next(images)
    os.kill(min(children() - before), signal.SIGSEGV)
    with pytest.raises(DecoderDied, match="SIGSEGV"):
        list(images)
    assert children() == before
    assert len(list(decoders.images(headers, classifier.definition("CT"), False))) == len(headers)
    decoders.close()
    assert children() == before


def test_what_goes_wrong_there_is_told_here(classifier: Classifier, headers: list[ImageHeader]) -> None:
    """An error that is none of decoding comes as a sentence."""
    decoders = Decoders(1, None)
    wrong = replace(classifier.definition("CT"), size=32)
    object.__setattr__(wrong, "preprocessing", "physical")
    object.__setattr__(wrong, "size", -5)
    with pytest.raises(DecoderDied, match=r"ValueError|error"):
        list(decoders.images(headers[4:], wrong, False))
    decoders.close()


def test_processes_end_with_their_worker(tmp_path: Path) -> None:
    """Whoever kills a worker need not know of them."""
    [path] = write(tmp_path, Recipe(n=1))
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from model.networks import Definition\nfrom model.read import read_header\n"
        "from node.ahead import Decoders\n"
        "header = read_header(Path(sys.argv[1]))\ndecoders = Decoders(2, None)\n"
        "images = decoders.images([header] * 99, Definition('small_residual', ('a', 'b')), True)\n"
        "next(images)\nprint(*(each._popen.pid for each in decoders._running), flush=True)\ninput()\n"
    )
    worker = psutil.Popen([sys.executable, "-c", code, str(path)], stdin=-1, stdout=-1, text=True)
    numbers = [int(word) for word in worker.stdout.readline().split()]
    assert len(numbers) == 2
    worker.kill()
    worker.communicate()
    wait_until(lambda: not any(map(psutil.pid_exists, numbers)), "the processes end")


def test_thin_slices_are_looked_at_now_and_then(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `every_mm` each slice has its region, and few of a thin stack are decoded."""
    found = [read_header(path) for path in write(tmp_path, Recipe(n=41, step_mm=1.0))]
    broken = replace(found[8], path=tmp_path / "gone")
    series = [*found[:8], broken, *found[9:]]
    thinned = Config.standalone().classify.model_copy(update={"every_mm": 4.0})
    config = Config.standalone().model_copy(update={"classify": thinned})
    seen: list[str] = []
    late: list[ImageHeader] = []  # decoded for the series as a whole

    def decode(header: ImageHeader) -> Image:
        late.append(header)
        return read_pixels(header)

    monkeypatch.setattr(wholes, "read_pixels", decode)
    outcome = classify(
        series, config, classifier, lambda: None, (), lambda header, _: seen.append(header.sop_instance_uid)
    )
    assert len(seen) == 10
    assert {header.path for header in late} <= {broken.path}
    assert outcome.verdict is not None
    assert len(outcome.verdict.regions) == 40
    assert [image.sop_instance_uid for image in outcome.images if image.reason] == [broken.sop_instance_uid]
    alone = classify([broken, broken, found[0], broken], config, classifier, lambda: None)
    assert alone.verdict is not None


def test_the_configuration_says_how_many() -> None:
    """None means a share of the cores, 0 none; a short series is not sent anywhere."""
    standalone = Config.standalone()
    own = standalone.classify.model_copy(update={"decoders": 0})
    assert not decoders_of(standalone.model_copy(update={"classify": own})).worthwhile(1000)
    several = standalone.classify.model_copy(update={"decoders": 3})
    assert decoders_of(standalone.model_copy(update={"classify": several})).worthwhile(300)
    assert not decoders_of(standalone.model_copy(update={"classify": several})).worthwhile(3)
