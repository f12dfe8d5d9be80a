"""Why a series is called so, or has no verdict: one sentence for command line, page and API."""

from db.queries import SeriesRow
from rules.explain import Received, explain


def explanation(row: SeriesRow) -> str:
    """Say in one sentence why a series is called what it is called, or why it has no verdict."""
    if row.correction_id is None:
        return _verdict(row)
    said = row.corrected_term or "that no one term fits"
    return f"a person says {said}; the verdict: {_verdict(row)}"


def _verdict(row: SeriesRow) -> str:
    if row.decided_at is None:
        return f"not decided yet, it is {row.state}."
    if row.term is None and not row.spans:
        return f"{row.reason or 'no verdict'}."
    received = Received(row.incoming_body_part, row.study_description, row.series_description)
    return explain(row, received)
