"""Test of the demonstration, as `make demo` runs it."""

import subprocess
import sys
from pathlib import Path

from tests.builders import Recipe, write

ROOT = Path(__file__).parents[1]


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demonstration in an empty folder."""
    return subprocess.run(
        [sys.executable, "-m", "node.cli.demo", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_shows_what_went_in_and_what_came_out(tmp_path: Path) -> None:
    """With pydicom's own images every instance sent is received, and the table shows both ends."""
    shown = demo(tmp_path)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "7 of 7 instances sent were received." in shown.stdout
    assert "secondary capture" in shown.stdout
    received = list((tmp_path / "build" / "demo" / "received").glob("*.dcm"))
    assert len(received) == 7


def test_takes_a_folder_of_the_users_own(tmp_path: Path) -> None:
    """With a folder only its images are sent; one without images is said to have none."""
    write(tmp_path / "mine", Recipe(n=3))
    shown = demo(tmp_path, "mine")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "3 of 3 instances sent were received." in shown.stdout
    (tmp_path / "empty").mkdir()
    assert demo(tmp_path, "empty").returncode == 1
