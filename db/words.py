"""Full text: the words of a series that somebody may search for, and how each database finds them.

A search is a list of beginnings of words, all of which must occur: `doe kne` finds Doe's knees. That is what
people type, and both databases answer it from an index without an extension: SQLite by an FTS5 table,
PostgreSQL by a tsvector under a GIN index. Trigrams would also find the middle of a word, for an index
several times the size and an extension that an admin would have to allow.

Words are made here and not by the databases, so that both find the same: letters and digits, without accents,
in lower case. The table is called `series_text` in both and is no part of `Base.metadata`.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, Integer, column, false, literal, select, table, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType

from db.columns import clean
from db.tables import CorrectionSpan, Series, SpanRow

MAXIMUM_WORDS: Final = 8
"""Words of a search that are looked for; a ninth narrows nothing that a person would read."""
MAXIMUM_LETTERS: Final = 64
"""Letters of a word that count; PostgreSQL takes 2046 bytes."""

SERIES_TEXT: Final = table("series_text", column("words"))

_LETTERS: Final = str.maketrans({"ł": "l", "ø": "o", "æ": "ae", "œ": "oe", "\u0131": "i", "đ": "d"})
_WORD: Final = re.compile(r"[^\W_]+")

_COLUMNS: Final = (
    Series.patient_id,
    Series.patient_name,
    Series.accession_number,
    Series.modality,
    Series.study_description,
    Series.series_description,
    Series.incoming_body_part,
    Series.calling_ae_title,
    Series.manufacturer,
    Series.term,
    Series.corrected_term,
)

_STORE: Final = {
    "sqlite": "INSERT OR REPLACE INTO series_text (rowid, words) VALUES (:series_id, :words)",
    "postgresql": "INSERT INTO series_text (series_id, words)"
    " VALUES (:series_id, array_to_tsvector(string_to_array(:words, ' ')))"
    " ON CONFLICT (series_id) DO UPDATE SET words = excluded.words",
}


class Number(FunctionElement[int]):
    """The column of `series_text` that holds the number of the series: in an FTS5 table its rowid."""

    type = Integer()
    inherit_cache = True
    name = "series_text_number"


class _Match(FunctionElement[bool]):
    """That a series' words match; the arguments are the question to SQLite and that to PostgreSQL."""

    type = Boolean()
    inherit_cache = True
    name = "series_text_match"

    def self_group(self, against: OperatorType | None = None) -> "_Match":
        """Stay as it is: SQLite's MATCH is no value that could be compared with 1."""
        del against
        return self


@compiles(Number, "sqlite")
def _number_sqlite(_element: Number, _compiler: SQLCompiler, **_: Any) -> str:
    return "series_text.rowid"


@compiles(Number, "postgresql")
def _number_postgresql(_element: Number, _compiler: SQLCompiler, **_: Any) -> str:
    return "series_text.series_id"


@compiles(_Match, "sqlite")
def _match_sqlite(element: _Match, compiler: SQLCompiler, **options: Any) -> str:
    return f"series_text MATCH {compiler.process(next(iter(element.clauses)), **options)}"


@compiles(_Match, "postgresql")
def _match_postgresql(element: _Match, compiler: SQLCompiler, **options: Any) -> str:
    return f"series_text.words @@ CAST({compiler.process(list(element.clauses)[1], **options)} AS tsquery)"


def words(told: str) -> list[str]:
    """Split a text into its words, each once, in their order: lower case, accents off."""
    decomposed = unicodedata.normalize("NFKD", clean(told).casefold())
    plain = "".join(each for each in decomposed if not unicodedata.combining(each)).translate(_LETTERS)
    return list(dict.fromkeys(word[:MAXIMUM_LETTERS] for word in _WORD.findall(plain)))


def document(told: Iterable[str | None]) -> str:
    """Return the words of several texts, each once, with blanks between them."""
    return " ".join(words(" ".join(each for each in told if each)))


def store(session: Session, documents: Iterable[tuple[int, str]]) -> None:
    """Store what series are found by: (number of the series, its document), in place of what was there."""
    rows = [{"series_id": series_id, "words": found} for series_id, found in documents]
    if rows:
        session.execute(text(_STORE[session.get_bind().dialect.name]), rows)


def refresh(session: Session, series_id: int) -> None:
    """Store anew what a series is found by: its facts, its terms and its regions."""
    row = session.execute(select(*_COLUMNS).where(Series.id == series_id)).one()
    shown = select(SpanRow.region).where(SpanRow.series_id == series_id)
    holds = select(Series.correction_id).where(Series.id == series_id).scalar_subquery()
    said = select(CorrectionSpan.region).where(CorrectionSpan.correction_id == holds)
    store(session, [(series_id, document([*row, *session.scalars(shown), *session.scalars(said)]))])


def is_stored(session: Session, series_id: int) -> bool:
    """Tell whether a series can be found."""
    there = select(Number()).select_from(SERIES_TEXT).where(Number() == series_id)
    return session.execute(there).first() is not None


def matches(search: str) -> ColumnElement[bool]:
    """Return the condition on `series_text` that all beginnings of words of a search occur.

    A search without any word finds nothing.
    """
    beginnings = words(search)[:MAXIMUM_WORDS]
    if not beginnings:
        return false()
    return _Match(
        literal(" AND ".join(f'"{word}" *' for word in beginnings)),
        literal(" & ".join(f"'{word}':*" for word in beginnings)),
    )
