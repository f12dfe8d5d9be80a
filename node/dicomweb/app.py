"""The STOW-RS origin server as an application: who asks, how much, and pumping the body to the upload."""

import asyncio
from collections.abc import Callable
from email.message import Message
from typing import Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from node.auditing.audit import NODE_AUTHENTICATION, SECURITY_ALERT, Alerts, Trail
from node.dicomweb.access import CHALLENGE, Busy, Turns, identified
from node.dicomweb.answer import JSON, acceptable, encoded, http_status, response
from node.dicomweb.part import Room
from node.dicomweb.stow import MEDIA_TYPE, Malformed, TooMuch, Upload
from node.intake.intake import Arrival, Offer, Transfer
from node.settings.dicomweb import DicomWeb, WebClient
from node.storage.spool import UID_PATTERN, SeriesKey

log = structlog.get_logger()

_CLOSE: Final = {"Connection": "close"}
"""One request a connection: each has its deadline from the first byte on, and none outstays it."""

_RETRY_AFTER: Final = {"Retry-After": "30"}


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the program
    """The request is answered with an HTTP status and one sentence."""

    def __init__(self, status: int, comment: str, **headers: str) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Origin:
    """Answers Store Instances requests; `store` takes an instance in, `released` hears of a request's end."""

    def __init__(
        self,
        settings: DicomWeb,
        room: Room,
        store: Callable[[Offer, memoryview], Arrival],
        released: Callable[[frozenset[SeriesKey]], None],
        trail: Trail,
        called: str,
        refused: Callable[[int], None] = lambda status: None,  # noqa: ARG005 - named for who gives another
    ) -> None:
        """`called` is the AE title of the node, for the audit trail; `refused` hears of each status."""
        self._settings = settings
        self._called = called
        self._trail = trail
        self._alerts = Alerts(trail)
        self._room = room
        self._store = store
        self._released = released
        self._refused = refused
        self._turns = Turns(settings.maximum_requests, settings.maximum_requests_per_client)

    async def handle(self, request: Request, study: str | None) -> Response:
        """Answer one POST to /studies or /studies/{study}."""
        try:
            client = self._client(request)
            media_type = _checked(request, study, int(self._settings.maximum_request_bytes))
            with self._turns.taken(client):
                return await self._stored(request, client, study, media_type)
        except Busy as busy:
            refused = Refused(503, str(busy), **_RETRY_AFTER)
        except Refused as error:
            refused = error
        event = NODE_AUTHENTICATION if refused.status == 401 else SECURITY_ALERT
        self._alerts.alert(
            "web request refused", _address(request), event, status=refused.status, why=refused.comment
        )
        return Response(
            refused.comment + "\n",
            refused.status,
            headers={**_CLOSE, **refused.headers},
            media_type="text/plain",
        )

    def _client(self, request: Request) -> WebClient:
        client = identified(self._settings.clients, _address(request), request.headers.get("authorization"))
        if client is None:
            raise Refused(401, "who asks is not among dicomweb.clients", WWW_Authenticate=CHALLENGE)
        return client

    async def _stored(
        self, request: Request, client: WebClient, study: str | None, media_type: str
    ) -> Response:
        source = {"ae_title": client.ae_title, "address": _address(request)}
        transfer = Transfer(self._trail, source, self._called)

        def store(offer: Offer, data: memoryview) -> Arrival:
            arrival = self._store(offer, data)
            transfer.store(arrival.stored.key)
            return arrival

        upload = _upload(request, client, study, self._room, self._settings, store)
        fault: Refused | None = None
        try:
            await self._pump(request, upload)
        except Malformed as error:
            fault = Refused(400, str(error))
        except TooMuch as error:
            fault = Refused(413, str(error))
        except TimeoutError:
            fault = Refused(408, "the body did not come in time")
        except ClientDisconnect:
            fault = Refused(400, "the client went away")
        finally:
            await run_in_threadpool(upload.close)
            self._released(frozenset(each.stored.key for each in upload.arrivals))
            for result in upload.results:
                if not result.stored:
                    transfer.refuse()
                    self._refused(result.status)
            transfer.end()
        return self._answer(upload, client, media_type, fault)

    async def _pump(self, request: Request, upload: Upload) -> None:
        """Hand the body over, one piece at a time: the next is read once this one is dealt with."""
        received = 0
        stream = request.stream()
        async with asyncio.timeout(self._settings.request_timeout_s):
            while True:
                async with asyncio.timeout(self._settings.idle_timeout_s):
                    piece = await anext(stream, None)
                if piece is None:
                    break
                received += len(piece)
                if received > int(self._settings.maximum_request_bytes):
                    raise TooMuch("the request is larger than dicomweb.maximum_request_bytes")
                if piece:
                    await run_in_threadpool(upload.feed, piece)
        upload.finish()

    def _answer(self, upload: Upload, client: WebClient, media_type: str, fault: Refused | None) -> Response:
        """Say what became of each part; where the body broke off after some were stored, of those."""
        status = http_status(upload.results)
        if fault is not None:
            status = 202 if status in (200, 202) and fault.status == 400 else fault.status
        log.info(
            "web request answered",
            status=status,
            calling_ae_title=client.ae_title,
            stored=len(upload.arrivals),
            refused=len(upload.results) - len(upload.arrivals),
            reason="" if fault is None else fault.comment,
        )
        headers = {**_CLOSE, **(_RETRY_AFTER if status == 503 else {})}
        body = encoded(response(upload.results), media_type)
        return Response(body, status, headers=headers, media_type=media_type)


def make_app(path: str, origin: Origin) -> FastAPI:
    """Make the application: two resources below `path`, and nothing else, no pages of documentation."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.post(f"{path}/studies")
    async def store(request: Request) -> Response:
        """Store instances of any study."""
        return await origin.handle(request, None)

    @app.post(f"{path}/studies/{{study}}")
    async def store_study(request: Request, study: str) -> Response:
        """Store instances of one study."""
        return await origin.handle(request, study)

    return app


def _address(request: Request) -> str:
    return request.client.host if request.client else "0.0.0.0"  # noqa: S104 - an address that nobody has


def _checked(request: Request, study: str | None, maximum_bytes: int) -> str:
    """Look at the headers before the body is asked for; return the media type of the answer."""
    if study is not None and (len(study) > 64 or not UID_PATTERN.fullmatch(study)):
        raise Refused(400, "the study is no UID")
    media_type = acceptable(request.headers.get("accept"))
    if media_type is None:
        raise Refused(406, f"answers are {JSON} or application/dicom+xml")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "a content encoding is not understood")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > maximum_bytes:
        raise Refused(413, "the request is larger than dicomweb.maximum_request_bytes")
    return media_type


def _upload(
    request: Request,
    client: WebClient,
    study: str | None,
    room: Room,
    settings: DicomWeb,
    store: Callable[[Offer, memoryview], Arrival],
) -> Upload:
    boundary = _boundary(request.headers.get("content-type", ""))
    caller = (client.ae_title, study)
    try:
        return Upload(boundary, caller, room, settings.maximum_instances, store)
    except Malformed as error:
        raise Refused(400, str(error)) from error


def _boundary(content_type: str) -> bytes:
    """Return the boundary of multipart/related; type="application/dicom" (PS3.18 section 8.6.1.2.1)."""
    header = Message()
    header["content-type"] = content_type
    part_type = str(header.get_param("type", MEDIA_TYPE)).lower()
    if header.get_content_type() != "multipart/related" or part_type != MEDIA_TYPE:
        raise Refused(415, f'instances come as multipart/related; type="{MEDIA_TYPE}"')
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not boundary.isascii():
        raise Refused(400, "the content type names no boundary")
    return boundary.encode()
