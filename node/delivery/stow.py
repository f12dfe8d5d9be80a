"""DICOMweb as a destination: STOW-RS with the file's own bytes, QIDO-RS to read back (PS3.18 10.5, 10.6).

dicomweb-client knows addresses, queries and their answers. It would parse and write each data set anew, so
the body of a request is made here: what is stored is what goes out.
"""

import json
import re
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from requests.adapters import HTTPAdapter

from node.delivery.outgoing import Outgoing
from node.delivery.tls import NotingContext, client_context
from node.delivery.transport import (
    Answer,
    Context,
    Identity,
    PeerError,
    RefusedError,
    SyntaxRefusedError,
    idle,
)
from node.settings.destinations import Tls, WebDestination
from node.status import SUCCESS

_MAXIMUM_ANSWER_BYTES: Final = 4 << 20
_MAXIMUM_PAUSE_S: Final = 3600.0
_SYNTAX_NOT_SUPPORTED: Final = 0xC122
"""Failure Reason (0008,1197): referenced transfer syntax not supported (PS3.18 Table I.2-2)."""

_ABOUT_ONE: Final = frozenset({400, 406, 409, 411, 413, 422})
"""HTTP statuses that speak of the instance; all others speak of the server, or of who is asking."""


class _Adapter(HTTPAdapter):
    """Requests' adapter with the node's own TLS context, and no other authorities than its own."""

    def __init__(self, context: NotingContext) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make connections with the context."""
        named = {} if self._context.check_hostname else {"assert_hostname": False}
        every: Any = {"ssl_context": self._context, **named, **options}
        super().init_poolmanager(*arguments, **every)

    def cert_verify(self, *arguments: Any, **options: Any) -> None:
        """Leave the context as it is; requests would add the authorities of its own package."""


class _Body:
    """A multipart/related body of one part (PS3.18 8.6.1.2.1), read from the file while it is sent."""

    def __init__(self, file: IO[bytes], size_bytes: int, boundary: str) -> None:
        self._pieces: list[bytes] = [f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()]
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._file = file
        self._length = len(self._pieces[0]) + size_bytes + len(self._tail)
        self._ended = False

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """Return the next piece, b"" at the end."""
        if self._pieces:
            return self._pieces.pop()
        piece = self._file.read(max(size, 1 << 18))
        if not piece and not self._ended:
            self._ended = True
            return self._tail
        return piece


@dataclass(frozen=True, slots=True)
class WebSender:
    """A session with a DICOMweb server."""

    url: str
    session: requests.Session
    timeout_s: float
    tls: NotingContext | None

    def accepts(self, context: Context) -> bool:
        """Take whatever comes; what the server takes it says in its answer."""
        del context
        return True

    def store(self, what: Outgoing, meanwhile: Callable[[], None] = idle) -> Answer:  # noqa: ARG002
        """Send one instance by STOW-RS; raises PeerError, RefusedError or SyntaxRefusedError."""
        path = what.file()
        boundary = uuid.uuid4().hex
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        with path.open("rb") as file, self.peer_errors():
            body: Any = _Body(file, path.stat().st_size, boundary)
            response = self.session.post(
                f"{self.url}/studies",
                data=body,
                headers=headers,
                timeout=self.timeout_s,
                allow_redirects=False,
                stream=True,
            )
            with response:
                return _answer(response)

    @contextmanager
    def peer_errors(self) -> Iterator[None]:
        """Turn what goes wrong on the way to the server into a PeerError."""
        try:
            yield
        except requests.RequestException as error:
            raise PeerError(f"{self.url} {_why(error, self.tls)}") from None


@dataclass(frozen=True, slots=True)
class WebOut:
    """The way to one DICOMweb server."""

    settings: WebDestination

    @property
    def where(self) -> str:
        """The server's address."""
        return self.settings.url

    @contextmanager
    def connect(self, contexts: Collection[Context]) -> Iterator[WebSender]:
        """Open a session; what goes wrong in it with the server as a whole is a PeerError."""
        del contexts
        context = client_context(self.settings.tls or Tls()) if self.where.startswith("https://") else None
        with requests.Session() as session:
            session.trust_env = False  # neither proxies nor .netrc: what the configuration says holds
            session.headers["Accept-Encoding"] = "identity"
            if context is not None:
                session.mount("https://", _Adapter(context))
            self._log_in(session)
            yield WebSender(self.where, session, self.settings.timeout_s, context)

    def echo(self) -> str:
        """Ask QIDO-RS for one study."""
        with self._asking() as client:
            client.search_for_studies(limit=1)
        return "success"

    def find(self, sent: Collection[Identity]) -> Mapping[str, str]:
        """Ask QIDO-RS, instance by instance, for what was sent."""
        found: dict[str, str] = {}
        with self._asking() as client:
            for each in sent:
                for answer in client.search_for_instances(
                    each.study_instance_uid or None,
                    each.series_instance_uid or None,
                    fields=["BodyPartExamined"],
                    search_filters={"SOPInstanceUID": each.sop_instance_uid},
                ):
                    if _value(answer, "00080018") == each.sop_instance_uid:
                        found[each.sop_instance_uid] = _value(answer, "00180015")
        return found

    @contextmanager
    def _asking(self) -> Iterator[DICOMwebClient]:
        """Open a session for questions; an answer that cannot be read is a PeerError, too."""
        with self.connect(()) as sender, sender.peer_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library warns of answers that are empty or cut
            client = DICOMwebClient(
                self.where, session=sender.session, timeout=self.settings.timeout_s, permissive_uid=True
            )
            client.set_http_retry_params(retry=False)
            try:
                yield client
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if isinstance(error, requests.RequestException):
                    raise
                raise PeerError(f"{self.where} gave an answer that cannot be read") from error

    def _log_in(self, session: requests.Session) -> None:
        settings = self.settings
        token = "" if settings.token is None else settings.token.get_secret_value()
        if settings.token_file is not None:
            try:
                token = settings.token_file.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise PeerError(f"the token of {self.where} cannot be read") from error
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        if settings.user is not None and settings.password is not None:
            login = (settings.user.encode(), settings.password.get_secret_value().encode())
            session.auth = requests.auth.HTTPBasicAuth(*login)


def _answer(response: requests.Response) -> Answer:
    """Read a Store Instances Response (PS3.18 10.5.3 and Annex I)."""
    code = response.status_code
    if code == 415:
        raise SyntaxRefusedError("the server does not take this media type or transfer syntax (HTTP 415)")
    if code not in (200, 202) and code not in _ABOUT_ONE:
        raise PeerError(
            f"the server answered HTTP {code} {_text(response.reason)}".strip(), _pause_s(response)
        )
    told = _data_set(response)
    for item in told.get("FailedSOPSequence") or ():
        reason = int(item.get("FailureReason") or 0x0110)
        if reason == _SYNTAX_NOT_SUPPORTED:
            raise SyntaxRefusedError("the server does not take this transfer syntax")
        return Answer(reason, f"HTTP {code}")
    for item in told.get("ReferencedSOPSequence") or ():
        return Answer(int(item.get("WarningReason") or SUCCESS), f"HTTP {code}")
    if code == 200 and not told:
        return Answer(SUCCESS, "HTTP 200, without a word on the instance")
    raise RefusedError(f"the server answered HTTP {code} {_text(response.reason)}".strip())


def _data_set(response: requests.Response) -> Dataset:
    """Read the answer's data set; empty where there is none that can be read."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in ("application/dicom+json", "application/json"):
        return Dataset()
    text = b""
    for piece in response.iter_content(1 << 16):
        text += piece
        if len(text) > _MAXIMUM_ANSWER_BYTES:
            raise PeerError("the server's answer is too long")
    try:
        read = json.loads(text)
        return Dataset.from_json(read[0] if isinstance(read, list) and read else read)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return Dataset()


def _pause_s(response: requests.Response) -> float:
    """Return for how long the server wants to be left alone; only its seconds are understood."""
    after = response.headers.get("Retry-After", "")
    return min(float(after), _MAXIMUM_PAUSE_S) if re.fullmatch(r"[0-9]{1,9}", after) else 0.0


def _why(error: requests.RequestException, context: NotingContext | None) -> str:
    """Say what went wrong without headers, queries or anything else that may hold a secret."""
    if context is not None and context.said:
        return f"TLS failed: {context.said}"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered HTTP {error.response.status_code} {_text(error.response.reason)}".strip()
    if isinstance(error, requests.Timeout):
        return "gave no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "does not answer"
    return f"could not be asked: {type(error).__name__}"


def _value(answer: Mapping[str, Any], tag: str) -> str:
    values = answer.get(tag, {}).get("Value") or [""]
    return str(values[0] or "")


def _text(reason: object) -> str:
    """Return a reason phrase as it may be kept: short, and in letters."""
    return re.sub(r"[^A-Za-z0-9 ,.'-]", "", str(reason or ""))[:60]
