"""Series as a Parquet file, for notebooks: written in groups of rows, so that memory does not grow."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from importlib.util import find_spec
from itertools import islice
from typing import IO, TYPE_CHECKING, Final, get_type_hints

from db.pages import SeriesLine

if TYPE_CHECKING:
    import pyarrow

MEDIA_TYPE: Final = "application/vnd.apache.parquet"
ROWS: Final = 10_000


def installed() -> bool:
    """Tell whether the extra `parquet` is there."""
    return find_spec("pyarrow") is not None


def write(rows: Iterable[SeriesLine], file: IO[bytes]) -> None:
    """Write series into an open file."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = _schema()
    with ParquetWriter(file, schema, compression="zstd") as writer:
        for some in _groups(iter(rows)):
            writer.write_table(pyarrow.Table.from_pylist([asdict(row) for row in some], schema))


def _groups(rows: Iterator[SeriesLine]) -> Iterator[list[SeriesLine]]:
    while some := list(islice(rows, ROWS)):
        yield some


def _schema() -> "pyarrow.Schema":
    """Return the columns: those of a line, times in UTC, spans as structures."""
    import pyarrow as pa

    span = pa.struct(
        [
            ("region", pa.string()),
            ("first_mm", pa.float64()),
            ("last_mm", pa.float64()),
            ("images", pa.int64()),
            ("confidence", pa.float64()),
        ]
    )
    kinds = {
        str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(),
        datetime: pa.timestamp("us", "UTC"),
    }  # fmt: skip
    lists = {"flags": pa.list_(pa.string()), "spans": pa.list_(span)}
    hints = get_type_hints(SeriesLine)
    found = []
    for name in SeriesLine.__dataclass_fields__:
        plain = next((kind for kind in kinds if hints[name] in (kind, kind | None)), str)
        found.append((name, lists.get(name, kinds[plain])))
    return pa.schema(found)
