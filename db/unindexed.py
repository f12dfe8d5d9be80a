"""Columns that a condition may look at but not be looked up by: what keeps SQLite on the index of the order.

SQLite's planner knows averages only. Where most rows match it would rather collect them all by a filter's
index and sort them than read the first few off the index of the order. The unary plus, which changes nothing,
keeps it from using an index for that condition (https://www.sqlite.org/optoverview.html). PostgreSQL knows
better.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Column = InstrumentedAttribute[Any]
Chooser = Callable[[Column], ColumnElement[Any]]


class _Unindexed(FunctionElement[Any]):
    """A column behind a unary plus, where that says something."""

    inherit_cache = True
    name = "unindexed"


@compiles(_Unindexed)
def _plain(element: _Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **options))


@compiles(_Unindexed, "sqlite")
def _plus(element: _Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(next(iter(element.clauses)), **options)}"


def unindexed(column: Column) -> ColumnElement[Any]:
    """Return a column that no index is used for."""
    found = _Unindexed(column)
    found.type = column.expression.type
    return found


def indexed(column: Column) -> ColumnElement[Any]:
    """Return a column as it is."""
    return column.expression
