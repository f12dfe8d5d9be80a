"""A user's own DICOM folder: labels in patient millimetres, the order of slices, subjects, decoding."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest

from model.geometry import centre_z_mm
from model.regions import CLASSES
from model.training import labels
from model.training.data import samples
from model.training.folder import FolderError, Series, divide, load, scan, training
from model.training.split import Split
from tests.builders import CORONAL, Recipe, real_series, write
from tests.multiframe import Enhanced, write_enhanced

HEADER = "series_uid,region,from_mm,to_mm"
RECIPE = Recipe(n=6, first_position=(-25.0, -25.0, -100.0), step_mm=10.0)
UID = RECIPE.series_uid


def table(path: Path, *lines: str, header: str = HEADER) -> Path:
    """Write a file of labels and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def scanned(tmp_path: Path, *lines: str, recipes: Sequence[Recipe] = (RECIPE,)) -> tuple[Series, ...]:
    """Write series and their labels, and scan the folder for CT."""
    for recipe in recipes:
        write(tmp_path / "mine" / recipe.seed, recipe)
    return scan(tmp_path / "mine", table(tmp_path / "labels.csv", *lines), "CT")


def test_slices_get_the_region_of_their_height(tmp_path: Path) -> None:
    """Slices at -100 to -50 mm: two of knee, a transition, three of thigh; ends count, order does not."""
    [series] = scanned(tmp_path, f"{UID},thigh,-50,-70", f"{UID},knee,-100.0,-90.0")
    assert series.regions == ("knee", "knee", None, "thigh", "thigh", "thigh")
    assert series.positions_mm.tolist() == [-100, -90, -80, -70, -60, -50]
    assert (series.source, series.labelled) == ("mine", 5)


def test_order_is_that_of_the_body_not_of_the_files(tmp_path: Path) -> None:
    """A series that was scanned from head to feet comes out from feet to head, labels with it."""
    downwards = Recipe(n=4, first_position=(0.0, 0.0, 0.0), step_mm=-10.0)
    [series] = scanned(tmp_path, f"{UID},neck,-5,0", recipes=[downwards])
    assert series.positions_mm.tolist() == [-30, -20, -10, 0]
    assert series.regions == (None, None, None, "neck")


def test_where_two_regions_meet_a_slice_has_none(tmp_path: Path) -> None:
    """Ranges may touch; the slice exactly there belongs to neither. A boundary is kept, and not trained."""
    lines = [f"{UID},calf,-100,-80", f"{UID},knee,-80,-60", f"{UID},calf_foot_boundary,-50,-50"]
    [series] = scanned(tmp_path, *lines)
    assert series.regions == ("calf", "calf", None, "knee", "knee", "calf_foot_boundary")
    assert series.labelled == 4
    found = samples([load(series)], CLASSES["CT"])
    assert [(one.index, one.label) for one in found] == [(0, "calf"), (1, "calf"), (3, "knee"), (4, "knee")]


def test_a_tilted_image_lies_where_its_middle_lies(tmp_path: Path) -> None:
    """The first pixel of a gantry-tilted image is far above or below its middle; the middle counts."""
    tilt = np.deg2rad(20)
    tilted = Recipe(
        n=1, orientation=(1, 0, 0, 0, np.cos(tilt), np.sin(tilt)), first_position=(0.0, 0.0, 100.0), rows=101
    )
    [series] = scanned(tmp_path, f"{UID},head,112,115", recipes=[tilted])
    assert centre_z_mm(series.headers[0]) == pytest.approx(100 + 50 * 0.8 * np.sin(tilt), abs=0.01)
    assert series.regions == ("head",)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (f"{UID},nose,0,1", r"line 2: there is no region 'nose'; there are abdomen, "),
        (f"{UID},knee,low,1", r"line 2: from_mm must be a number of millimetres, not 'low'"),
        (f"{UID},knee,0,nan", r"line 2: to_mm must be a number of millimetres, not 'nan'"),
        (f"{UID},knee,0", r"line 2: to_mm must be a number of millimetres, not ''"),
        (",knee,0,1", r"line 2: series_uid is empty"),
        ("1.2.3,knee,0,1", r"line 2: there is no series 1\.2\.3 in .*mine"),
        (f"{UID},knee,10,20", r"line 2: no image lies between 10 and 20 mm; those .* -100 and -50 mm"),
        (f"{UID},breast,-100,-90", r"line 2: breast is no region of CT"),
        (f"{UID},knee,-100,-80\n{UID},thigh,-85,-50", r"line 3: thigh overlaps knee of line 2 by 5 mm"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence_with_the_line(tmp_path: Path, line: str, sentence: str) -> None:
    """What cannot be meant is said with file and line, before anything is trained."""
    with pytest.raises(FolderError, match=sentence) as raised:
        scanned(tmp_path, line)
    assert str(raised.value).startswith(str(tmp_path / "labels.csv"))
    assert "\n" not in str(raised.value)


def test_columns_and_paths_are_checked(tmp_path: Path) -> None:
    """A missing column, missing labels and a missing folder are named."""
    with pytest.raises(FolderError, match="must name the column to_mm"):
        labels.read(table(tmp_path / "a.csv", header="series_uid,region,from_mm"))
    with pytest.raises(FileNotFoundError, match=r"no labels at .*b\.csv"):
        labels.read(tmp_path / "b.csv")
    with pytest.raises(NotADirectoryError, match="there is no folder"):
        scan(tmp_path / "nowhere", tmp_path / "a.csv", "CT")


def test_labels_of_what_is_not_classified_are_a_mistake(tmp_path: Path) -> None:
    """Labels on a coronal series would silently do nothing; those of another modality wait for its run."""
    coronal = Recipe(n=3, orientation=CORONAL)
    with pytest.raises(FolderError, match=r"line 2: series .* is not classified: coronal plane"):
        scanned(tmp_path, f"{UID},chest,-100,0", recipes=[coronal])
    write(tmp_path / "mine" / "mr", Recipe("MR", n=3))
    mr = Recipe("MR").series_uid
    axial = Recipe(n=2, seed="axial")
    write(tmp_path / "other", axial)
    write(tmp_path / "other", Recipe("MR", n=3))
    both = table(tmp_path / "both.csv", f"{mr},knee,-100,0", f"{axial.series_uid},knee,-100,0")
    assert [len(series.headers) for series in scan(tmp_path / "other", both, "CT")] == [2]
    assert [len(series.headers) for series in scan(tmp_path / "other", both, "MR")] == [3]


def test_subjects_are_hashed_and_keep_their_side(tmp_path: Path) -> None:
    """The subject is the PatientID unless the labels give one; neither can be read in what is kept."""
    recipes = [Recipe(n=2, seed=f"s{i}", patient_id=f"P{i}") for i in range(40)]
    found = scanned(tmp_path, recipes=recipes)
    split = divide(found)
    assert len({series.subject for series in found}) == 40
    assert not any("P1" in series.subject for series in found)
    assert 2 <= len(split.validation) <= 15
    assert divide(found[:20]).validation == split.validation & {series.subject for series in found[:20]}
    header = f"{HEADER},subject"
    lines = [f"{recipes[i].series_uid},knee,-100,0,Doe" for i in (0, 1)]
    named = scan(tmp_path / "mine", table(tmp_path / "named.csv", *lines, header=header), "CT")
    assert len({series.subject for series in named if series.labelled}) == 1
    twice = table(tmp_path / "twice.csv", lines[0], lines[0].replace("Doe", "Roe"), header=header)
    with pytest.raises(FolderError, match=r"line 3: series .* has the subject Doe in an earlier line"):
        labels.read(twice)


def test_series_without_labels_stay_with_their_patient(tmp_path: Path) -> None:
    """A series without labels trains (the position output) unless its patient is in validation."""
    recipes = [Recipe(n=2, seed="labelled"), Recipe(n=2, seed="bare"), Recipe(n=2, seed="x", patient_id="X")]
    found = scanned(tmp_path, f"{recipes[0].series_uid},knee,-100,0", recipes=recipes)
    by_uid = {series.headers[0].series_instance_uid: series for series in found}
    labelled, bare, other = (by_uid[recipe.series_uid] for recipe in recipes)
    assert labelled.subject == bare.subject == bare.patient
    subjects = frozenset({labelled.subject, other.subject})
    split = Split(subjects, frozenset(), frozenset())
    assert set(map(id, training(found, split))) == set(map(id, found))
    held_out = Split(frozenset({other.subject}), frozenset({labelled.subject}), frozenset())
    assert training(found, held_out) == (other,)


def test_images_are_reduced_and_padding_becomes_air(tmp_path: Path) -> None:
    """512 pixels become 256 of twice the spacing; values outside the scan circle become the darkest ones."""

    def circle(index: int, rows: int, columns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
        made = np.full((rows, columns), 1074 + index, np.int16)  # 50 HU and more
        made[:64] = -2000 + 1024
        made[64:128] = 24  # -1000 HU
        return made

    recipe = Recipe(n=3, rows=512, columns=512, pixels=circle, overrides={"PixelPaddingValue": -976})
    [series] = scanned(tmp_path, f"{UID},chest,-100,0", recipes=[recipe])
    stack = load(series)
    assert stack.volume
    assert stack.spacing_mm == (1.6, 1.6)
    assert [image.shape for image in stack.images] == [(256, 256)] * 3
    assert all(image.dtype == np.int16 for image in stack.images)
    assert stack.images[2][0, 0] == -1000
    assert stack.images[2][255, 255] == 52
    assert stack.row.hounsfield


def test_what_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    """A damaged image goes, its neighbours keep their labels; a series with nothing left is a mistake."""
    paths = write(tmp_path / "mine", Recipe(n=4))
    table(tmp_path / "labels.csv", f"{UID},knee,-100,-95", f"{UID},thigh,-90,-80")
    for damaged in (paths[1:2], paths):
        for path in damaged:
            ds = pydicom.dcmread(path)
            ds.PixelData = ds.PixelData[:64]
            ds.save_as(path)
        [series] = scan(tmp_path / "mine", tmp_path / "labels.csv", "CT")
        if damaged is paths:
            with pytest.raises(FolderError, match=f"no image of series {UID} in mine can be decoded"):
                load(series)
        else:
            assert load(series).row.ranges == ((0, 0, "knee"), (1, 2, "thigh"))


def test_frames_of_an_enhanced_object_are_slices(tmp_path: Path) -> None:
    """A multi-frame object is read as the node reads it: each frame has its place and its label."""
    write_enhanced(tmp_path / "mine", Enhanced(RECIPE))
    [series] = scan(tmp_path / "mine", table(tmp_path / "a.csv", f"{UID},knee,-100,-80"), "CT")
    stack = load(series)
    assert stack.row.ranges == ((0, 2, "knee"),)
    assert stack.positions_mm is not None
    assert stack.positions_mm.tolist() == [-100, -90, -80, -70, -60, -50]
    assert len(stack.images) == 6


REAL = {name: files for name, files in real_series().items() if name.startswith("ct/sts")}


@pytest.mark.skipif(not REAL, reason="the real series of ../shared/data/dicom are not here")
@pytest.mark.parametrize("name", ["ct/sts042_knee", "ct/sts019_hand", "ct/sts049_foot_calf"])
def test_real_series_get_the_labels_of_their_manifest(tmp_path: Path, name: str) -> None:
    """Index ranges of the manifest, turned into millimetres, come back as the same indices."""
    place = REAL[name][0].parents[2]
    with (place / "ct.csv").open(newline="", encoding="utf-8") as lines:
        given = next(json.loads(line["labels"]) for line in csv.DictReader(lines) if line["folder"] == name)
    wanted = [(first, last, key) for first, last, key in given if "transition" not in key]
    files = [pydicom.dcmread(path, stop_before_pixels=True) for path in REAL[name]]
    heights = sorted(float(ds.ImagePositionPatient[2]) for ds in files)
    uid = files[0].SeriesInstanceUID
    lines_ = [f"{uid},{key},{heights[first]},{heights[last]}" for first, last, key in wanted]
    [series] = scan(place / name, table(tmp_path / "labels.csv", *lines_), "CT")
    stack = load(series)
    assert stack.row.ranges == tuple(wanted)
    assert stack.positions_mm == pytest.approx(np.array(heights))
    assert stack.volume
    assert len(stack.images) == len(heights)
