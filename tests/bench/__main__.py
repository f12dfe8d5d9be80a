"""python -m tests.bench: measure everything and write BENCHMARKS.md."""

import argparse
import logging
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray
from pydicom import uid

from model.networks import LITE, MOBILE, PAPER, SMALL
from node import log
from node.settings.log import Log
from tests.bench.dicom import forward, receive, rewrite
from tests.bench.linear import growth
from tests.bench.lists import split
from tests.bench.measure import Table
from tests.bench.mixed import mixed
from tests.bench.networks import decoding, inference, preparing, radiographs
from tests.bench.plots import RECEIVE, receive_plot
from tests.bench.precision import precision
from tests.bench.stages import stages
from tests.bench.thinning import DATA, thinning
from tests.bench.through import Through, end_to_end, packed
from tests.builders import Recipe, blob, write
from tests.chaos.__main__ import SEVERAL
from tests.harness import command
from tests.scale.section import kept

FILMS = DATA / "dicom" / "xr"

HEAD = """\
# Benchmarks

Written by `{command}` on {date}, in {minutes:.1f} minutes. Not edited by hand.

Every round runs each system once, one after the other; the tables show the median of the rounds and, in
parentheses, the lowest and the highest. A ratio is taken within a round, above 1 means faster. Wall times
depend on what else the machine does (its load average stands below each table: at more than {cores} the
cores were shared); CPU milliseconds and ratios are the firmer figures. All files are on one file system
({filesystem}); peers talk over the loopback interface, with TCP_NODELAY on both ends.

- Images: {images} synthetic CT instances, 512 x 512, 16 bits, explicit VR little endian, 0.53 MB each.
- Machine: {machine}; {cores} cores, {memory:.0f} GiB; {system}.
- Versions: {versions}.

![images received a second against associations](tests/bench/plots/receive.svg)

"""


DOCUMENT: Final = "BENCHMARKS.md"


def main() -> None:
    """Run the sections that were asked for and write the document."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where to work; emptied")
    parser.add_argument("--out", type=Path, help="BENCHMARKS.md; with --only the tables are printed alone")
    parser.add_argument("--only", default="", help="titles that contain this")
    plan = parser.parse_args()
    if plan.out is None:
        plan.out = plan.folder / DOCUMENT if plan.only else Path(DOCUMENT)
    log.configure(Log(level="error"))
    logging.getLogger("pynetdicom").setLevel(
        logging.CRITICAL
    )  # it calls a peer that is still starting an error
    started = time.monotonic()
    shutil.rmtree(plan.folder, ignore_errors=True)
    plan.folder.mkdir(parents=True)
    _, lists = split(plan.out.read_text(encoding="utf-8") if plan.out.exists() else "")
    several = kept(plan.out, SEVERAL)
    with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
        for sections in _measure(Path(folder), plan.images, plan.rounds, plan.only, plan.out.parent):
            # After each section: what is interrupted keeps what it has measured.
            minutes = (time.monotonic() - started) / 60
            head = _head(_filesystem(Path(folder)), minutes, plan.images)
            measured = "\n".join(section.markdown() for section in sections)
            document = "\n".join(filter(None, (head + measured, lists, several)))
            plan.out.write_text(document, encoding="utf-8")


class Section(Protocol):
    """What a section of the document is made of."""

    def markdown(self) -> str:
        """Write it."""


def _measure(folder: Path, images: int, rounds: int, only: str, beside: Path) -> Iterator[list[Section]]:
    """Measure one section after the other; yield all there are after each. The plot lies beside them."""
    recipe = Recipe(n=images, rows=512, columns=512, step_mm=1, seed="bench", body_part=None, pixels=_ellipse)
    files = write(folder / "source", recipe)
    sections: dict[str, Callable[[], Section]] = {
        "receive 1": lambda: receive(folder, files, rounds, 1),
        "receive 4": lambda: receive(folder, files, rounds, 4),
        "receive 8": lambda: receive(folder, files, rounds, 8),
        "forward": lambda: forward(folder, files, recipe, rounds),
        "rewrite": lambda: rewrite(folder, files[:100], rounds),
        "end to end": lambda: end_to_end(folder, recipe, min(3, rounds)),
        "end to end, JPEG 2000": lambda: end_to_end(folder, recipe, min(2, rounds), uid.JPEG2000Lossless),
        "mixed": lambda: mixed(folder / "mixed", 100 if images >= 100 else 10, min(2, rounds)),
        "linear": lambda: growth(folder, beside),
        "decode": lambda: decoding(folder / "decode", min(3, rounds)),
        "prepare": lambda: preparing(files, min(3, rounds)),
        **{
            f"network {name}": partial(inference, name, min(3, rounds))
            for name in (LITE, SMALL, PAPER, MOBILE)
        },
        **({"radiographs": partial(radiographs, FILMS, min(3, rounds))} if FILMS.is_dir() else {}),
        "thinning": thinning,
        "precision": precision,
    }
    made: dict[str, Section] = {}
    for name, section in sections.items():
        if only in name:
            made[name] = section()
            print(made[name].markdown(), flush=True)
            yield list(made.values())
    _stages(folder, files, recipe, made, beside)
    received = {int(name.split()[1]): made[name] for name in made if name.startswith("receive")}
    tables = {number: each for number, each in received.items() if isinstance(each, Table)}
    if tables:
        receive_plot(tables, beside / RECEIVE)
    yield list(made.values())


def _stages(folder: Path, files: list[Path], recipe: Recipe, made: dict[str, Section], beside: Path) -> None:
    """Take apart what the series end to end took, where both were measured."""
    plain, jpeg = made.get("end to end"), made.get("end to end, JPEG 2000")
    if isinstance(plain, Through) and isinstance(jpeg, Through):
        some = packed(folder / "stages", replace(recipe, n=min(20, recipe.n)), uid.JPEG2000Lossless)
        series = {"uncompressed": (files[:60], plain), "JPEG 2000": (some, jpeg)}
        made["stages"] = stages(series, recipe.n, beside)
        print(made["stages"].markdown(), flush=True)


def _ellipse(_index: int, rows: int, columns: int) -> NDArray[np.generic]:
    """Draw the same image each time: one region, so that the series gets a term and copies are relabelled."""
    return blob(0, rows, columns)


def _head(filesystem: str, minutes: float, images: int) -> str:
    packages = (
        "pynetdicom",
        "pydicom",
        "numpy",
        "opencv-python-headless",
        "tensorflow",
        "onnxruntime",
        "openvino",
    )
    dcmtk = subprocess.run([command("storescu"), "--version"], capture_output=True, text=True, check=True)
    versions = [f"bodytag {version('bodytag')}", f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in packages]
    versions.append(f"dcmtk {dcmtk.stdout.split()[2].lstrip('v')}")
    return HEAD.format(
        command=f"python -m tests.bench {' '.join(sys.argv[1:])}".strip(),
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        minutes=minutes,
        filesystem=filesystem,
        images=images,
        machine=_processor(),
        cores=psutil.cpu_count(),
        memory=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release()}",
        versions=", ".join(versions),
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _filesystem(folder: Path) -> str:
    """Name the type of the file system that holds a folder."""
    mounts = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    return next((mounts[path] for path in folder.resolve().parents if path in mounts), "unknown")


if __name__ == "__main__":
    main()
