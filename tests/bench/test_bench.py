"""Tests that the benchmarks run and write their document; how long anything takes is not tested."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.measure import Sample, Table


@pytest.mark.parametrize("section", ["receive 1", "forward", "rewrite"])
def test_document_is_written(tmp_path: Path, section: str) -> None:
    """A short run writes a document with the command that made it and one table, every system in it."""
    out = tmp_path / "BENCHMARKS.md"
    options = ["--images", "3", "--rounds", "1", "--only", section]
    options += ["--folder", str(tmp_path / "work"), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "tests.bench", *options], check=True, stdout=subprocess.DEVNULL)
    text = out.read_text(encoding="utf-8")
    assert f"python -m tests.bench --images 3 --rounds 1 --only {section}" in text
    assert text.count("\n## ") == 1
    assert "n = 3 images a run, 1 rounds" in text
    assert text.count("| node") >= 1
    assert "{" not in text


def test_table_compares_within_a_round() -> None:
    """A ratio is taken round by round: twice as fast in one round, four times in the other."""
    samples = {
        "other": (Sample(2.0), Sample(8.0)),
        "node": (Sample(1.0, 0.5), Sample(2.0, 1.5)),
    }
    text = Table("T", "what", 100, "other", samples, (0.5, 1.25)).markdown()
    assert "| node | 1.5 | 15.00 (10.00–20.00) | 67 | 10.00 | 3.00 (2.00–4.00) |" in text
    assert "load average 0.5 to 1.2" in text
