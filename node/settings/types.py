"""Types that the sections of the configuration share, each with its check and its sentence."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo


class Section(BaseModel):
    """A part of the configuration: frozen, without unknown keys, and silent about values in its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _ae_title(value: str) -> str:
    title = value.strip()
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ValueError("an AE title has 1 to 16 ASCII characters and no backslash")
    return title


def _network(value: str) -> str:
    ip_network(value)
    return value


def _port(value: int) -> int:
    if not 0 <= value <= 65535:
        raise ValueError("a port lies between 0 and 65535")
    return value


def _status(value: object) -> object:
    return int(value, 16) if isinstance(value, str) else value


def resolved(path: Path, info: ValidationInfo) -> Path:
    """Relative paths count from the folder of the configuration file."""
    folder = info.context["folder"] if info.context else Path()
    return (folder / path.expanduser()).resolve()


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, AfterValidator(_port)]
Status = Annotated[int, BeforeValidator(_status)]
ConfigPath = Annotated[Path, AfterValidator(resolved)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Policy = Literal["always", "when_missing_or_wrong", "never"]
