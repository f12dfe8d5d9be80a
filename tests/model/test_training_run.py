"""A run's file: what it means, where its paths count from, and the sentence for each mistake."""

import re
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from model import series_networks
from model.networks import LITE, MOBILE, PAPER, SMALL, Definition, build
from model.preprocess import BODY, SIZED, WHOLE
from model.regions import CLASSES
from model.training import volume_run
from model.training.data import DATA
from model.training.labels import read
from model.training.run import Folder, RunError, load
from model.weights_file import save

RUNS = Path(__file__).parents[2] / "model" / "training" / "runs"
TINY = Definition(SMALL, CLASSES["CT"], size=32, widths=(4, 8), blocks=1)


def written(folder: Path, **keys: object) -> Path:
    """Write a run's file with these keys beside modality and steps."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"modality": "CT", "steps": 5, **keys}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a very small network."""
    path = tmp_path_factory.mktemp("start") / "tiny.npz"
    save(path, build(TINY), TINY, {"modality": "CT", "temperature": 1.0, "training": {"steps": 0}})
    return path


def test_paths_count_from_the_files_folder_and_defaults_from_here(tmp_path: Path) -> None:
    """What is written in the file lies beside it; the data's and the run's own folder are found from here."""
    run = load(written(tmp_path, folders=[{"folder": "knees"}], initial="a.npz"))
    assert run.folders == (Folder(folder=tmp_path / "knees"),)
    assert run.folders[0].table == tmp_path / "knees" / "labels.csv"
    assert run.start == tmp_path / "a.npz"
    assert (run.data, run.out) == (DATA, Path("runs/mine"))
    run = load(written(tmp_path, out="there", data="d"))
    assert (run.data, run.out) == (tmp_path / "d", tmp_path / "there")
    run = load(written(tmp_path, out="there"), data=Path("x"), out=Path("y"))
    assert (run.data, run.out) == (Path("x"), Path("y"))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"rates": 1}, "rates: is no known key"),
        ({"folders": [{"folder": "a", "label": "b"}]}, "folders.0.label: is no known key"),
        ({"modality": "US"}, "modality: Input should be 'CT', 'MR' or 'XR'"),
        (
            {"network": "vgg"},
            f"network: there is no network 'vgg'; there are {LITE}, {MOBILE}, {PAPER}, {SMALL}",
        ),
        ({"bodies": ["AM", "XX"]}, "bodies.1: there is no anatomy 'XX'; there are AM, AF, BP3D"),
        ({"steps": None}, "steps: give steps, minutes or both, or the run has no end"),
        ({"initial_share": 0.5}, "initial_share: the run must go on from weights of the same regions"),
        ({"frozen_stages": 2}, "frozen_stages: a network from scratch has nothing to keep"),
        (
            {"frozen_stages": 8, "initial": "imagenet"},
            "frozen_stages: Input should be less than or equal to 7",
        ),
        ({"initial": "imagenet", "network": PAPER}, f"initial: there are ImageNet weights for {LITE} only"),
        ({"data": None}, "data: without data and folders there is nothing to train on"),
        ({"omitted": ["tail"]}, "omitted: tail is no region of the CT network"),
        ({"rate": 0}, "rate: Input should be greater than 0"),
        ({"ema": 1.0}, "ema: Input should be less than 1"),
    ],
)
def test_mistakes_are_one_sentence_with_the_path(
    tmp_path: Path, keys: dict[str, object], sentence: str
) -> None:
    """Every mistake names the file, the key and what is wrong."""
    path = written(tmp_path, **keys)
    with pytest.raises(RunError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: {sentence}")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("- 1", "must hold keys and values, not a list"), ("a: [", "is not valid YAML"),
     ("", "must hold keys and values, not a NoneType")],
)  # fmt: skip
def test_what_is_no_run_at_all(tmp_path: Path, text: str, sentence: str) -> None:
    """A file that holds no keys, or none that can be read, is a sentence as well."""
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=sentence):
        load(path)
    with pytest.raises(RunError, match="cannot be read: No such file"):
        load(tmp_path / "b.yaml")


def test_network_is_the_named_one_or_that_of_the_weights(tmp_path: Path, start: Path) -> None:
    """From scratch the file names the network; going on, the weights do, and the file may not contradict."""
    assert load(written(tmp_path)).definition() == Definition(LITE, CLASSES["CT"], 160, preprocessing=BODY)
    paper = load(written(tmp_path, network=PAPER, preprocessing="whole")).definition()
    assert (paper.size, paper.channels, paper.preprocessing) == (224, 3, WHOLE)
    sized = load(written(tmp_path, preprocessing="sized", size=96)).definition()
    assert (sized.size, sized.channels, sized.preprocessing) == (96, 2, SIZED)
    going_on = load(written(tmp_path, initial=str(start))).definition()
    assert going_on == TINY
    larger = load(written(tmp_path, initial=str(start), size=64, preprocessing="body")).definition()
    assert larger == replace(TINY, size=64, preprocessing=BODY)
    other = load(written(tmp_path, initial=str(start), modality="MR")).definition()
    assert other == replace(TINY, classes=CLASSES["MR"])
    for keys, sentence in (
        ({"network": PAPER}, f"initial: .* is of {SMALL}, not of {PAPER}"),
        ({"frozen_stages": 2}, f"frozen_stages: {SMALL} has none; {LITE} has 7"),
        ({"preprocessing": "sized"}, "preprocessing: .* another number of channels"),
    ):
        with pytest.raises(RunError, match=sentence):
            load(written(tmp_path, initial=str(start), **keys)).definition()


def test_shipped_weights_can_be_gone_on_from(tmp_path: Path) -> None:
    """`shipped` means the weights of the package, whatever their network is."""
    run = load(written(tmp_path, initial="shipped"))
    assert run.definition().classes == CLASSES["CT"]
    assert run.as_json()["initial"] == "shipped"


def test_record_of_a_run_has_no_paths(tmp_path: Path) -> None:
    """Of every path the name alone is kept."""
    run = load(written(tmp_path, folders=[{"folder": "knees"}], initial="a.npz", data="d", out="o"))
    plain = run.as_json()
    assert str(tmp_path) not in str(plain)
    assert (plain["folders"], plain["initial"], plain["data"]) == (["knees"], "a.npz", "d")


@pytest.mark.parametrize("path", sorted(RUNS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_runs_are_valid(path: Path) -> None:
    """Every run in the repository can be read, and its network defined if its first weights are there."""
    if volume_run.is_series(path):
        assert volume_run.load(path).network in series_networks.NETWORKS
        return
    run = load(path)
    assert run.out.name == path.stem
    if run.start is None or run.start.exists():
        assert run.definition().classes == CLASSES[run.modality]
    else:  # another run makes them
        assert (RUNS / f"{run.start.parent.name}.yaml").exists()


def test_the_readmes_example_works(tmp_path: Path) -> None:
    """The file and the labels that the README shows can be read as they stand there."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = [dedent(block) for block in re.findall(r"(?:^    .*\n)+", readme, re.MULTILINE)]
    path = tmp_path / "mine.yaml"
    path.write_text(next(block for block in blocks if block.startswith("modality:")), encoding="utf-8")
    run = load(path)
    assert run.folders == (Folder(folder=tmp_path / "dicom", labels=tmp_path / "labels.csv"),)
    assert run.definition().classes == CLASSES["CT"]
    run.folders[0].table.write_text(next(block for block in blocks if block.startswith("series_uid,")))
    labels = read(run.folders[0].table)
    assert [len(ranges) for ranges in labels.ranges.values()] == [2, 1]
    assert set(labels.subjects.values()) == {"S01", "S02"}


def test_the_papers_run_is_the_papers() -> None:
    """224 x 224 x 3, the whole image, plain categorical cross-entropy, ResNet50V2."""
    run = load(RUNS / "resnet50v2-ct.yaml")
    made = run.definition()
    assert (made.network, made.size, made.channels, made.preprocessing) == (PAPER, 224, 3, WHOLE)
    assert run.smoothing == 0
