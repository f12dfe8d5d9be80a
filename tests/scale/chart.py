"""Renders the chart with Helm's own code, in a process of its own.

That code is written in Go, whose runtime takes signals and starts threads where it is loaded: it stays
out of the one that runs the tests.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parents[2] / "docker/helm/bodytag"


@dataclass(frozen=True)
class Rendered:
    """The chart with certain values: its objects, and what Helm finds to mend in it."""

    objects: list[dict[str, Any]]
    complaints: list[str]


def rendered(values: dict[str, Any]) -> Rendered:
    """Render and lint the chart; raises subprocess.CalledProcessError where Helm refuses it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.scale.chart", json.dumps(values)], check=True, stdout=subprocess.PIPE
    )
    return Rendered(**json.loads(done.stdout))


def _helm(values: dict[str, Any]) -> dict[str, Any]:
    from helm_python.chart import Chart, lint

    texts = Chart.load(CHART).render(values, name="bodytag", namespace="radiology").values()
    said = lint(CHART, values, strict=True)["messages"]
    return {
        "objects": [each for text in texts for each in yaml.safe_load_all(text) if each],
        "complaints": [str(each) for each in said if each["severity"] > 1],
    }


if __name__ == "__main__":
    print(json.dumps(_helm(json.loads(sys.argv[1]))))
