"""STOW-RS without HTTP: multipart bytes in, a result for each instance out (PS3.18 section 10.5)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from node.dicomweb.part import Part, Room, announced
from node.intake.intake import Arrival, Offer
from node.status import CANNOT_UNDERSTAND, SUCCESS, Rejection

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/dicom"
_HEADER: Final = "content-type"


class Malformed(Exception):  # noqa: N818 - the request's fault, not the program's
    """The body is no multipart message with instances; the message is one sentence."""


class TooMuch(Exception):  # noqa: N818 - the request's fault, not the program's
    """The request holds more than is allowed; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one part: its UIDs where they could be read, and the status of PS3.4 Table B.2-1."""

    status: int
    comment: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""

    @property
    def stored(self) -> bool:
        """Tell whether the instance is durable."""
        return self.status == SUCCESS


class Upload:
    """The body of one request as it comes; `results` grows by one with each part that ended.

    `store` takes an instance in and tells the node of it; it raises Rejection.
    """

    def __init__(
        self,
        boundary: bytes,
        caller: tuple[str, str | None],
        room: Room,
        maximum_instances: int,
        store: Callable[[Offer, memoryview], Arrival],
    ) -> None:
        self.results: list[Result] = []
        self.arrivals: list[Arrival] = []
        self._caller = caller
        self._room = room
        self._maximum_instances = maximum_instances
        self._store = store
        self._part: Part | None = None
        self._refusal: Rejection | None = None
        self._header = ""
        self._type = ""
        self._ended = False
        try:
            self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]
        except FormParserError as error:
            raise Malformed(f"the boundary is no boundary: {error}") from error

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises Malformed or TooMuch."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Malformed(f"the body is no multipart message: {error}") from error

    def finish(self) -> None:
        """Note the end of the body; raises Malformed where it ends within a part, or holds none."""
        if not self._ended:
            raise Malformed("the body ends before its last boundary")
        if not self.results:
            raise Malformed("the body holds no instance")

    def close(self) -> None:
        """Give back what an unfinished part takes."""
        if self._part is not None:
            self._part.close()
            self._part = None

    def _callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._header_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._last,
        }

    def _begin(self) -> None:
        if len(self.results) >= self._maximum_instances:
            raise TooMuch("the request holds more instances than dicomweb.maximum_instances")
        self._part, self._refusal = Part(self._room), None
        self._header = self._type = ""

    def _header_begin(self) -> None:
        self._header = ""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end].decode("latin-1").lower()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        if self._header == _HEADER:
            self._type += data[start:end].decode("latin-1")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is None or self._refusal is not None:
            return  # refused already: the rest of the part is read over
        try:
            self._part.write(memoryview(data)[start:end])
        except Rejection as rejection:
            self._refusal = rejection

    def _end(self) -> None:
        part = self._part
        if part is None:
            return
        try:
            self.results.append(self._result(part))
        finally:
            self.close()

    def _result(self, part: Part) -> Result:
        offer = None
        try:
            if self._type.split(";")[0].strip().lower() not in ("", MEDIA_TYPE):
                raise Rejection(CANNOT_UNDERSTAND, f"a part is not {MEDIA_TYPE}")
            offer, data = self._announced(part)
            if self._refusal is not None:
                raise self._refusal
            self.arrivals.append(self._store(offer, data))
        except Rejection as rejection:
            uids = ("", "") if offer is None else (offer.sop_class_uid, offer.sop_instance_uid)
            log.warning(
                "instance refused",
                status=f"0x{rejection.status:04X}",
                reason=rejection.comment,
                calling_ae_title=self._caller[0],
            )
            return Result(rejection.status, rejection.comment, *uids)
        return Result(SUCCESS, "", offer.sop_class_uid, offer.sop_instance_uid)

    def _announced(self, part: Part) -> tuple[Offer, memoryview]:
        """Read what a part announces; of one that was refused already, to name it in the answer."""
        try:
            return announced(part.content(), *self._caller)
        except Rejection as rejection:
            raise self._refusal or rejection from None

    def _last(self) -> None:
        self._ended = True
