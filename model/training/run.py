"""One training run: a YAML file becomes one frozen object; every mistake is one sentence.

Paths written in the file count from the file's folder. The defaults of `data` (DATA) and `out` (`runs/`
and the file's name) count from the current folder, as the command line's `--data` and `--out` do.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from model.classify import SHIPPED as SHIPPED_WEIGHTS
from model.efficientnet import STAGES
from model.networks import LITE, NETWORKS, Definition, default
from model.preprocess import BODY, PREPROCESSINGS, RADIOGRAPH, SIZED
from model.radiographs import PART_KEYS
from model.regions import CLASSES
from model.training.bodies import FILES
from model.training.data import DATA
from model.training.sampler import MIXED, Choice
from model.weights_file import load as load_weights

NONE: Final = "none"
IMAGENET: Final = "imagenet"
SHIPPED: Final = "shipped"
XR: Final = "XR"
OUT: Final = Path("runs")
LABELS: Final = "labels.csv"


class RunError(ValueError):
    """A run cannot start or go on; the message is one sentence with the key or the path."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _resolved(path: Path, info: ValidationInfo) -> Path:
    folder = info.context["folder"] if info.context else Path()
    return (folder / path.expanduser()).resolve()


def _known(names: tuple[str, ...], kind: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"there is no {kind} '{value}'; there are {', '.join(names)}")
        return value

    return AfterValidator(check)


RunPath = Annotated[Path, AfterValidator(_resolved)]
Network = Annotated[str, _known(tuple(sorted(NETWORKS)), "network")]
Preprocessing = Annotated[str, _known(PREPROCESSINGS, "preprocessing")]
BodyName = Annotated[str, _known(tuple(FILES), "anatomy")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Folder(_Section):
    """A folder of DICOM files of the user's own, and the CSV file of their labels."""

    folder: RunPath
    labels: RunPath | None = None

    @property
    def table(self) -> Path:
        """The path of the labels: `labels.csv` in the folder unless given."""
        return self.labels or self.folder / LABELS


class Run(_Section):
    """One training run.

    `initial` is `none` (from scratch), `imagenet` (EfficientNet-Lite0 alone), `shipped`, or the path
    of weights to go on from; network, size and preprocessing are then those of the weights unless
    given; those of the other modality lend the regions that both have. With `frozen_normalisation`
    the normalisation layers keep their statistics and scale while the rest is trained; with
    `frozen_stages` the stem and so many stages of EfficientNet-Lite0 keep everything, which makes a
    step of three of them a third cheaper. `minutes`
    bounds the time and `steps` the number of batches; the learning rate follows whichever is further.
    `omitted` regions are never shown, to measure what becomes of the unknown. `upright` is the share of
    sagittal and coronal images, of MR alone. `ema` is the momentum with which the weights are averaged,
    `initial_share` how much of the result are the weights that the run began with, which holds better on
    other sources than either alone (Wortsman et al. 2022, WiSE-FT), `position` the weight of the auxiliary
    output (model/training/position.py); 0 turns each off. `data` null trains on `folders` alone.
    `suppliers` processes make the batches, each with the data in memory. `restarts` is how often the rate
    begins anew (Loshchilov and Hutter 2017), as the paper on radiographs has it.

    For radiographs (XR) `folders`, `omitted` and `position` have no meaning yet.
    """

    modality: Literal["CT", "MR", "XR"]
    network: Network | None = None
    size: Annotated[int, Field(ge=32, le=1024)] | None = None
    preprocessing: Preprocessing | None = None
    initial: str = NONE
    frozen_normalisation: bool = False
    frozen_stages: Annotated[int, Field(ge=0, le=len(STAGES))] = 0
    images: Literal["mixed", "real", "synthetic"] = MIXED
    without: tuple[str, ...] = ()
    bodies: tuple[BodyName, ...] = tuple(FILES)
    omitted: tuple[str, ...] = ()
    upright: Share = 0.0
    folders: tuple[Folder, ...] = ()
    steps: Annotated[int, Field(ge=1)] | None = None
    minutes: Positive | None = None
    batch: Annotated[int, Field(ge=1)] = 64
    rate: Positive = 2e-3
    restarts: Annotated[int, Field(ge=0)] = 0
    decay: Weight = 5e-2
    smoothing: Share = 0.05
    ema: Share = 0.0
    initial_share: Share = 0.0
    position: Weight = 0.0
    seed: Annotated[int, Field(ge=0)] = 1
    suppliers: Annotated[int, Field(ge=1, le=64)] = 1
    data: RunPath | None = DATA
    out: RunPath = OUT

    @field_validator("initial")
    @classmethod
    def _start(cls, value: str, info: ValidationInfo) -> str:
        return value if value in (NONE, IMAGENET, SHIPPED) else str(_resolved(Path(value), info))

    @model_validator(mode="after")
    def _consistent(self) -> "Run":
        if self.steps is None and self.minutes is None:
            raise ValueError("steps: give steps, minutes or both, or the run has no end")
        if self.initial == IMAGENET and self.network not in (None, LITE):
            raise ValueError(f"initial: there are ImageNet weights for {LITE} only, not for {self.network}")
        if self.initial_share and self.initial in (NONE, IMAGENET):
            raise ValueError("initial_share: the run must go on from weights of the same regions")
        if self.frozen_stages and self.initial == NONE:
            raise ValueError("frozen_stages: a network from scratch has nothing to keep")
        for region in set(self.omitted) - set(CLASSES[self.modality]):
            raise ValueError(f"omitted: {region} is no region of the {self.modality} network")
        if self.upright and self.modality != "MR":
            raise ValueError("upright: the MR network alone sees sagittal and coronal images")
        if self.modality == XR and (self.folders or self.omitted or self.position or self.data is None):
            raise ValueError("modality: radiographs are trained on `data` alone, without folders or position")
        if self.data is None and not self.folders:
            raise ValueError("data: without data and folders there is nothing to train on")
        return self

    @property
    def start(self) -> Path | None:
        """The weights to go on from, None where training starts from scratch or from ImageNet."""
        if self.initial in (NONE, IMAGENET):
            return None
        return SHIPPED_WEIGHTS[self.modality] if self.initial == SHIPPED else Path(self.initial)

    @property
    def choice(self) -> Choice:
        """What of the data is trained on."""
        return Choice(self.images, self.without, self.bodies, self.omitted, self.upright)

    def definition(self) -> Definition:
        """Return the network that is trained; raises WeightsError or RunError over its first weights."""
        if self.start is None:
            known = default(self.network or LITE, CLASSES[self.modality])
            made = self.preprocessing or (RADIOGRAPH if self.modality == XR else BODY)
        else:
            known = self._started(self.start)
            made = self.preprocessing or known.preprocessing
        if self.frozen_stages and known.network != LITE:
            raise RunError(f"frozen_stages: {known.network} has none; {LITE} has {len(STAGES)}")
        channels = 2 if made == SIZED else known.channels
        parts = PART_KEYS if self.modality == XR else ()
        size = self.size or known.size
        return replace(known, size=size, channels=channels, preprocessing=made, parts=parts)

    def _started(self, path: Path) -> Definition:
        weights = load_weights(path)
        known = weights.definition
        if self.network not in (None, known.network):
            raise RunError(f"initial: {path} is of {known.network}, not of {self.network}")
        if self.preprocessing is not None and (self.preprocessing == SIZED) != (known.channels == 2):
            raise RunError(
                f"preprocessing: {path} was trained with {known.preprocessing}; {self.preprocessing} has "
                "another number of channels"
            )
        return replace(known, classes=CLASSES[self.modality])

    def as_json(self) -> dict[str, Any]:
        """Return the run as plain values for its record, of each path the name alone."""
        plain = self.model_dump(mode="json", exclude={"out"})
        plain["data"] = self.data.name if self.data else None
        plain["initial"] = self.initial if self.start is None or self.initial == SHIPPED else self.start.name
        plain["folders"] = [each.folder.name for each in self.folders]
        return plain


def load(path: Path, data: Path | None = None, out: Path | None = None) -> Run:
    """Read, check and freeze a run's file; `data` and `out` replace what it says. Raises RunError."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise RunError(f"{path}: must hold keys and values, not a {type(raw).__name__}")
    try:
        found = Run.model_validate(raw, context={"folder": path.resolve().parent})
    except ValidationError as error:
        raise RunError("\n".join(f"{path}: {_sentence(dict(item))}" for item in error.errors())) from error
    given = {"data": data, "out": out or (OUT / path.stem if "out" not in raw else None)}
    return found.model_copy(update={key: value for key, value in given.items() if value is not None})


def _sentence(item: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "is no known key"
    return f"{where}: {message}" if where else message
