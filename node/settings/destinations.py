"""The section `destinations` of the configuration: where copies go, and how each is reached and treated."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ByteSize, Discriminator, Field, SecretStr, Tag, model_validator

from node.settings.site import When
from node.settings.types import AeTitle, ConfigPath, Policy, Port, Seconds, Section, Status


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address begins with https:// or http:// and names a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an address holds no password and nothing after ? or #; see user and token")
    return value.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_url)]


class Retry(Section):
    """How an instance that a destination did not take is tried again."""

    first_s: Seconds = 5
    maximum_s: Seconds = 600
    maximum_age_s: Seconds = 3 * 86400


class Tls(Section):
    """TLS towards a destination: whom to trust, and the node's own certificate for mutual authentication."""

    ca: ConfigPath | None = None
    certificate: ConfigPath | None = None
    key: ConfigPath | None = None
    check_name: bool = True

    @model_validator(mode="after")
    def _check(self) -> "Tls":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class Destination(Section):
    """What all destinations have in common, whatever they speak."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    relabel: Policy = "when_missing_or_wrong"
    new_series: bool = False
    report: bool = False
    when: When | None = None
    verify: bool = False
    verify_within_s: Seconds = 60
    concurrency: Annotated[int, Field(ge=1, le=16)] = 1
    instances_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    bytes_per_s: Annotated[ByteSize, Field(gt=0)] | None = None
    accepted_warnings: tuple[Status, ...] = (0xB000, 0xB006, 0xB007)
    timeout_s: Seconds = 30
    retry: Retry = Retry()


class DicomDestination(Destination):
    """A storage SCP, called by C-STORE."""

    type: Literal["dicom"] = "dicom"
    ae_title: AeTitle
    host: str
    port: Port
    calling_ae_title: AeTitle | None = None
    transcode: bool = True
    tls: Tls | None = None


class WebDestination(Destination):
    """A DICOMweb server, called by STOW-RS; nobody, a user, or the bearer of a token logs in."""

    type: Literal["dicomweb"]
    url: WebAddress
    user: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    token_file: ConfigPath | None = None
    transcode: bool = True
    tls: Tls | None = None

    @model_validator(mode="after")
    def _check(self) -> "WebDestination":
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if sum(each is not None for each in (self.user, self.token, self.token_file)) > 1:
            raise ValueError("only one of user, token and token_file can log in")
        if self.tls is not None and not self.url.startswith("https://"):
            raise ValueError("tls needs an address that begins with https://")
        return self


class FolderDestination(Destination):
    """A folder that is there already: a disk, or a share that is mounted."""

    type: Literal["folder"]
    folder: ConfigPath


def _type(raw: object) -> str:
    found: Any = raw.get("type", "dicom") if isinstance(raw, Mapping) else getattr(raw, "type", "dicom")
    return str(found)


AnyDestination = Annotated[
    Annotated[DicomDestination, Tag("dicom")]
    | Annotated[WebDestination, Tag("dicomweb")]
    | Annotated[FolderDestination, Tag("folder")],
    Discriminator(
        _type,
        custom_error_type="destination_type",
        custom_error_message="type must be dicom, dicomweb or folder",
    ),
]
