"""/api/v1/export: all matching series as CSV or Parquet, and corrections as labels for training."""

import csv
import io
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse

from db.pages import SeriesLine, every
from node import labels
from node.web.api import parquet
from node.web.api.asking import ERRORS, Question, Sentence
from node.web.context import Context, ContextDep

router = APIRouter(prefix="/api/v1/export", tags=["export"])

COLUMNS: Final = tuple(name for name in SeriesLine.__dataclass_fields__)
_PIECE: Final = 1 << 20
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {}}}}
_PARQUET: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {parquet.MEDIA_TYPE: {}}},
    501: {"model": Sentence, "description": "The extra `parquet` is not installed"},
}


@router.get("/series.csv", responses={**ERRORS, **_CSV}, response_class=StreamingResponse)
def series_csv(context: ContextDep, question: Annotated[Question, Query()]) -> StreamingResponse:
    """Return all matching series, the latest first, one line each.

    Spans and flags are joined by semicolons. A text that a spreadsheet would take for a formula begins with
    an apostrophe.
    """
    return _sent(_csv(context, question), "text/csv; charset=utf-8", "series.csv")


def _csv(context: Context, question: Question) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\r\n"
    with context.database.reading() as session:
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        for row in every(session, question.filters()):
            writer.writerow([_cell(name, getattr(row, name)) for name in COLUMNS])
            if buffer.tell() > _PIECE:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue()


def _cell(name: str, value: Any) -> Any:
    if name == "spans":
        return "; ".join(f"{span.region} {span.first_mm:.1f}..{span.last_mm:.1f}" for span in value)
    if name == "flags":
        value = "; ".join(value)
    elif hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


@router.get("/series.parquet", responses={**ERRORS, **_PARQUET}, response_class=StreamingResponse)
def series_parquet(context: ContextDep, question: Annotated[Question, Query()]) -> StreamingResponse:
    """Return all matching series, the latest first, as a Parquet file."""
    if not parquet.installed():
        raise HTTPException(501, "Parquet needs the extra of that name: pip install bodytag[parquet]")
    file = TemporaryFile()  # noqa: SIM115 - it is closed once it was sent
    try:
        with context.database.reading() as session:
            parquet.write(every(session, question.filters()), file)
    except BaseException:
        file.close()
        raise
    return _sent(_pieces(file), parquet.MEDIA_TYPE, "series.parquet")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece


@router.get("/labels.csv", responses={**ERRORS, **_CSV}, response_class=StreamingResponse)
def labels_csv(context: ContextDep, carried: bool = True) -> StreamingResponse:
    """Return corrections as labels, as `bodytag train` reads them; without `carried` those by hand alone."""
    buffer = io.StringIO()
    with context.database.reading() as session:
        labels.write(session, buffer, carried)
    return _sent(iter([buffer.getvalue()]), "text/csv; charset=utf-8", "labels.csv")


def _sent(content: Iterator[str] | Iterator[bytes], media_type: str, name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(content, media_type=media_type, headers=headers)
