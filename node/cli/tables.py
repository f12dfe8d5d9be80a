"""How series are shown to people and to programs: one table, one JSON object, one CSV line each."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import IO, Final

from rich.table import Table

from db.queries import SeriesRow
from db.records import Whole
from model.series_labels import TITLES
from node.explained import explanation
from rules.verdict import Span

CSV_COLUMNS: Final = (
    "series_id", "state", "received_at", "patient_id", "study_date", "modality", "study_instance_uid",
    "series_instance_uid", "series_description", "calling_ae_title", "instances", "classified",
    "incoming_body_part", "term", "radiograph_group", "confidence", "disagrees", "rule", "spans", "reason",
    "failure", "deliveries", "conflicts", "part", "axis", "contrast",
)  # fmt: skip


def spans_text(spans: Sequence[Span]) -> str:
    """Write spans for people, feet to head: `knee -112..-25 mm 0.97`."""
    return "\n".join(
        f"{span.region} {span.first_mm:.0f}..{span.last_mm:.0f} mm  {span.confidence:.2f}" for span in spans
    )


def verdict_text(row: SeriesRow) -> str:
    """Say in a few words what was decided, or why nothing was; a person's word holds."""
    if row.correction_id is not None:
        return f"{row.corrected_term or 'no term'} (corrected)"
    if row.term is not None:
        return f"{row.term} {row.confidence or 0:.2f}"
    return f"unknown ({row.rule})" if row.spans else (row.reason or "")


def whole_text(whole: Whole) -> str:
    """Say in a few words what a CT series is as a whole."""
    part = TITLES[whole.part] if whole.part else "unknown part"
    contrast = f"{whole.contrast} contrast" if whole.contrast else "contrast unknown"
    looks = f", looks {whole.seen_axis}" if whole.contradicts else ""
    return f"{part}, {whole.axis}{looks}, {contrast}"


def series_table(rows: Iterable[SeriesRow]) -> Table:
    """Lay series out as a table for a terminal."""
    table = Table(title="Series", show_lines=True)
    for heading in ("id", "received (UTC)", "patient", "series", "state", "tag said", "node says", "regions"):
        table.add_column(heading, overflow="fold")
    table.add_column("deliveries", overflow="fold")
    for row in rows:
        table.add_row(
            str(row.series_id),
            f"{row.received_at:%Y-%m-%d %H:%M:%S}",
            row.patient_id,
            f"{row.modality} {row.series_description}\n{row.instances} instances",
            row.state,
            row.incoming_body_part or "-",
            "\n".join([verdict_text(row), *([whole_text(row.whole)] if row.whole else [])]),
            spans_text(row.spans),
            deliveries_text(row),
        )
    return table


def deliveries_text(row: SeriesRow) -> str:
    """Write how far each destination is: `archive 49 sent, 1 failed (refused: ...)`."""
    lines = []
    for each in row.deliveries:
        counts = {"sent": each.sent, "pending": each.pending, "failed": each.failed}
        line = f"{each.destination} " + ", ".join(f"{n} {word}" for word, n in counts.items() if n)
        if each.last_comment and (each.pending or each.failed):
            line += f" ({each.last_comment})"
        lines.append(line)
    if row.conflicts:
        lines.append(f"{row.conflicts} kept apart: another object had the UID before")
    return "\n".join(lines)


def explanations(rows: Iterable[SeriesRow]) -> Iterator[str]:
    """Yield one line a series: its number, what it is, and in one sentence why it is called so."""
    for row in rows:
        yield f"{row.series_id} {row.modality} {row.series_description}: {explanation(row)}"


def as_json(rows: Iterable[SeriesRow], explained: bool = False) -> str:
    """Write series as a JSON array with every field, and with the explanation where asked for."""
    plain = [asdict(row) | ({"explanation": explanation(row)} if explained else {}) for row in rows]
    return json.dumps(plain, default=_plain, indent=1, ensure_ascii=False)


def write_csv(rows: Iterable[SeriesRow], file: IO[str]) -> None:
    """Write series as CSV with a heading line."""
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        values: Mapping[str, object] = asdict(row) | {
            "spans": "; ".join(spans_text(row.spans).splitlines()),
            "deliveries": "; ".join(deliveries_text(row).splitlines()),
            "part": row.whole and row.whole.part,
            "axis": row.whole and row.whole.axis,
            "contrast": row.whole and row.whole.contrast,
        }
        writer.writerow([_safe(values[name]) for name in CSV_COLUMNS])


def _safe(value: object) -> object:
    """Keep spreadsheets from running text of a DICOM header as a formula."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
