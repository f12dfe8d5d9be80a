"""One training run of a network for whole CT series: a YAML file becomes one frozen object."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Field, ValidationError

from model.series_networks import LIGHT, NETWORKS
from model.training.data import DATA
from model.training.run import OUT, BodyName, Positive, RunError, RunPath, Share, Weight, _known, _Section

MODALITY: Final = "CT_SERIES"
SeriesNetworkName = Annotated[str, _known(tuple(sorted(NETWORKS)), "network for series")]


class SeriesRun(_Section):
    """One run. `series` are drawn in all, `bodies` are the anatomies that are drawn from; one left out tests.

    Of them, the share `limbs` shows limbs and shoulders, where that is more than any other label's.
    `drawn` are folders of series that other runs drew, half of a batch. With `only` these heads alone learn,
    the axis with its towers, contrast with its last layers. `initial` is the path of weights to go on from.
    `shape` (slices, rows, columns) is that of the paper's network, smaller where memory is.
    """

    modality: Literal["CT_SERIES"] = MODALITY
    network: SeriesNetworkName = LIGHT
    initial: RunPath | None = None
    bodies: tuple[BodyName, ...] = ("AM", "BP3D")
    series: Annotated[int, Field(ge=1)] = 10_000
    limbs: Share = 0.0
    drawn: tuple[RunPath, ...] = ()
    only: tuple[Literal["axis", "contrast"], ...] = ()
    minutes: Positive = 30.0
    steps: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=1)] = 48
    rate: Positive = 2e-3
    decay: Weight = 2e-2
    ema: Share = 0.995
    seed: Annotated[int, Field(ge=0)] = 1
    shape: tuple[int, int, int] = (128, 224, 224)
    data: RunPath = DATA
    out: RunPath = OUT

    def plain(self) -> dict[str, Any]:
        """Return the configuration without the paths of this machine."""
        return self.model_dump(mode="json", exclude={"data", "out", "initial", "drawn"})


def is_series(path: Path) -> bool:
    """Say whether a file configures a network for whole series; a file that cannot be read does not."""
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(plain, dict) and plain.get("modality") == MODALITY


def load(path: Path, data: Path | None = None, out: Path | None = None) -> SeriesRun:
    """Read a run's file; `data` and `out` come from the command line. Raises RunError with one sentence."""
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    here = Path().resolve()
    try:
        run = SeriesRun.model_validate(plain, context={"folder": path.resolve().parent})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
    given = plain if isinstance(plain, dict) else {}
    places = {
        "data": data if data is not None else None if "data" in given else DATA,
        "out": out if out is not None else None if "out" in given else OUT / path.stem,
    }
    return run.model_copy(update={key: (here / value).resolve() for key, value in places.items() if value})
