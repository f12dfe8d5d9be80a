"""The configuration: one frozen object, read once from node.yaml; every mistake is one sentence."""

import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import ByteSize, Field, ValidationError, ValidationInfo, field_validator, model_validator

from model.classify import SHIPPED as SHIPPED_WEIGHTS
from model.runtimes import Engine, Precision, Runtime, missing, unfit
from model.series_weights import SHIPPED as SHIPPED_SERIES
from node.settings.commitment import CommitmentSection
from node.settings.destinations import AnyDestination, Destination
from node.settings.dicomweb import DicomWeb
from node.settings.log import Log
from node.settings.notify import Notify
from node.settings.receive import Receive
from node.settings.scaling import Scaling
from node.settings.site import SiteRuleSection
from node.settings.types import ConfigPath, Seconds, Section, Share, resolved
from node.settings.web import Web
from rules.decide import check as check_rules

SHIPPED: Final = "shipped"
OFF: Final = "off"
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the file, the key's path and the reason."""


class SpoolSection(Section):
    """Where instances are kept, for how long, and how much of the disk is left alone."""

    folder: ConfigPath = Field(default=Path("spool"), validate_default=True)
    minimum_free: ByteSize = ByteSize(5 * 1024**3)
    keep_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    quota: Annotated[ByteSize, Field(gt=0)] | None = None


class Series(Section):
    """When a series counts as complete."""

    stable_age_s: Seconds = 10
    flush_on_release: bool = False


class Weights(Section):
    """The weights of each network: `shipped` or a path.

    MR_LENGTHWISE sees sagittal and coronal MR, XR radiographs (CR, DX, RG).
    """

    CT: str = SHIPPED
    MR: str = SHIPPED
    MR_LENGTHWISE: str = SHIPPED
    XR: str = SHIPPED

    @field_validator("CT", "MR", "MR_LENGTHWISE", "XR")
    @classmethod
    def _resolve(cls, value: str, info: ValidationInfo) -> str:
        return value if value == SHIPPED else str(resolved(Path(value), info))


class Classify(Section):
    """The worker."""

    weights: Weights = Weights()
    ct_series: str = SHIPPED
    runtime: Runtime = "auto"
    precision: Precision = "single"
    preload: tuple[Literal["CT", "MR", "MR_LENGTHWISE", "XR"], ...] = ()
    early: bool = True
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=0)] = 0
    decoders: Annotated[int, Field(ge=0, le=64)] | None = None
    every_mm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 4.0
    hang_timeout_s: Seconds = 300
    series_timeout_s: Seconds = 3600
    maximum_memory: Annotated[ByteSize, Field(ge=2 * 1024**3)] | None = ByteSize(8 * 1024**3)
    minimum_confidence: Share = 0.5

    @field_validator("ct_series")
    @classmethod
    def _resolve(cls, value: str, info: ValidationInfo) -> str:
        return value if value in (SHIPPED, OFF) else str(resolved(Path(value), info))

    @field_validator("runtime")
    @classmethod
    def _installed(cls, value: Runtime) -> Runtime:
        lacks = missing(value)
        if lacks:
            raise ValueError(lacks)
        return value

    @model_validator(mode="after")
    def _able(self) -> Self:
        lacks = unfit(self.runtime, self.precision)
        if lacks:
            raise ValueError(lacks)
        return self


class Relabel(Section):
    """When a verdict may be written into the forwarded copy."""

    fill_confidence: Share = 0.7
    replace_confidence: Share = 0.85


class DatabaseSection(Section):
    """Where results go; an SQLite file unless a URL names a PostgreSQL server."""

    url: str = Field(default="sqlite:///bodytag.sqlite", validate_default=True, repr=False)
    migrate_on_start: bool = True

    @field_validator("url")
    @classmethod
    def _resolve(cls, value: str, info: ValidationInfo) -> str:
        prefix = "sqlite:///"
        if value.startswith(prefix):
            return prefix + str(resolved(Path(value.removeprefix(prefix)), info))
        return value


class Audit(Section):
    """Where the node writes who sent what to whom and who changed what; null: nowhere."""

    file: ConfigPath | None = Field(default=Path("audit.jsonl"), validate_default=True)


class Config(Section):
    """Everything a node can be told, frozen."""

    receive: Receive = Receive()
    dicomweb: DicomWeb = DicomWeb()
    web: Web = Web()
    commitment: CommitmentSection = CommitmentSection()
    spool: SpoolSection = Field(default_factory=SpoolSection)
    series: Series = Series()
    classify: Classify = Classify()
    rules: tuple[str, ...] = ("order",)
    relabel: Relabel = Relabel()
    site_rules: tuple[SiteRuleSection, ...] = ()
    destinations: tuple[AnyDestination, ...] = ()
    forward_to: tuple[str, ...] | None = None
    database: DatabaseSection = Field(default_factory=DatabaseSection)
    audit: Audit = Field(default_factory=Audit)
    notify: Notify = Notify()
    log: Log = Log()
    dispatch: Literal["local", "celery"] = "local"
    scaling: Scaling = Field(default_factory=Scaling)

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_rules(names)
        return names

    @field_validator("destinations")
    @classmethod
    def _unique_names(cls, destinations: tuple[AnyDestination, ...]) -> tuple[AnyDestination, ...]:
        names = [destination.name for destination in destinations]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two destinations are named '{twice[0]}'")
        return destinations

    @model_validator(mode="after")
    def _check_whole(self) -> "Config":
        for index, name in enumerate(self.forward_to or ()):
            if name not in {destination.name for destination in self.destinations}:
                raise ValueError(f"forward_to.{index}: there is no destination '{name}'")
        for index, rule in enumerate(self.site_rules):
            if rule.name in {other.name for other in self.site_rules[:index]}:
                raise ValueError(f"site_rules.{index}: another rule is named '{rule.name}'")
            unknown = [name for name in rule.route if name not in {each.name for each in self.forwarded}]
            if unknown:
                raise ValueError(f"site_rules.{index}.route: no series goes to a destination '{unknown[0]}'")
        if not self.receive.callers and not self.receive.promiscuous:
            raise ValueError("receive.callers: nobody may send; list the callers or set promiscuous: true")
        return self

    @model_validator(mode="after")
    def _check_dispatch(self) -> "Config":
        if self.dispatch == "local":
            return self
        if self.scaling.broker is None:
            raise ValueError("scaling.broker: dispatch: celery needs the address of a broker")
        if self.database.url.startswith("sqlite"):
            raise ValueError("database.url: dispatch: celery needs PostgreSQL, which machines can share")
        if self.spool.quota is not None:
            raise ValueError(
                "spool.quota: several receivers cannot keep to one; give the spool a file system of its own"
            )
        return self

    @classmethod
    def standalone(cls) -> "Config":
        """The defaults, for work without a network; nobody may send."""
        return cls(receive=Receive(promiscuous=True))

    @property
    def forwarded(self) -> tuple[Destination, ...]:
        """The destinations that get every series: those of `forward_to`, or all."""
        if self.forward_to is None:
            return self.destinations
        return tuple(self.destination(name) for name in self.forward_to)

    def destination(self, name: str) -> Destination:
        """Return the destination of that name; raise ConfigError if there is none."""
        for destination in self.destinations:
            if destination.name == name:
                return destination
        known = ", ".join(destination.name for destination in self.destinations) or "none"
        raise ConfigError(f"there is no destination '{name}'; configured: {known}")

    def engine(self) -> Engine:
        """Return how networks are run; the spool keeps them as the runtimes for CPUs read them."""
        classify = self.classify
        return Engine(classify.runtime, classify.threads, classify.precision, self.spool.folder / "networks")

    def series_weights(self) -> Path | None:
        """Return the path of the weights for CT series as wholes, None where these are not looked at."""
        named = self.classify.ct_series
        return None if named == OFF else SHIPPED_SERIES if named == SHIPPED else Path(named)

    def weights(self) -> dict[str, Path]:
        """Return the path of each modality's weights."""
        named = self.classify.weights.model_dump()
        return {
            modality: SHIPPED_WEIGHTS[modality] if path == SHIPPED else Path(path)
            for modality, path in named.items()
        }


def load(path: Path) -> Config:
    """Read, check and freeze a configuration file.

    `${NAME}` in a value stands for the environment variable NAME. Raises ConfigError.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.safe_load(text) or {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {_one_line(error)}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must hold keys and values, not a {type(raw).__name__}")
    # Sections left out are validated, too, so that their default paths count from the file's folder.
    raw = {"spool": {}, "database": {}, "audit": {}} | raw
    try:
        return Config.model_validate(
            _with_environment(raw, str(path), ""), context={"folder": path.resolve().parent}
        )
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {_sentence(item)}" for item in error.errors())) from error


def _sentence(item: object) -> str:
    assert isinstance(item, dict)  # noqa: S101 - pydantic's ErrorDetails, a TypedDict
    parts = item["loc"]
    if parts[:1] == ("destinations",):  # the third part is the type of the destination, which is no key
        parts = parts[:2] + parts[3:]
    where = ".".join(str(part) for part in parts)
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "is no known key"
    return f"{where}: {message}" if where else message


def _with_environment(value: object, file: str, where: str) -> object:
    if isinstance(value, dict):
        return {
            key: _with_environment(item, file, f"{where}.{key}".lstrip(".")) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_with_environment(item, file, f"{where}.{index}") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ConfigError(f"{file}: {where}: the environment variable {match[1]} is not set")
        return found

    return _VARIABLE.sub(lookup, value)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
