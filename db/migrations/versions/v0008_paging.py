"""Paging by index: columns and indexes that lists are filtered and sorted by, and full text.

What is new of old series follows from the database, but for the Frame of Reference and the height of each
image, which stand in their files alone: for those the position along the normal is taken, which is the
height unless the gantry was tilted.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

from db.words import document, store

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEXES = {
    "series": [
        ["frame_of_reference_uid"],
        ["modality"],
        ["calling_ae_title"],
        ["term"],
        ["disagrees"],
        ["review"],
        ["study_date", "id"],
        ["patient_name", "id"],
        ["confidence", "id"],
    ],
    "spans": [["region", "series_id"]],
}
TEXTS = (
    "patient_id, patient_name, accession_number, modality, study_description, series_description,"
    " incoming_body_part, calling_ae_title, manufacturer, term"
)
BATCH = 1000


def upgrade() -> None:
    """Add the columns, what they hold of old series, the indexes and the full text."""
    op.add_column("series", sa.Column("registered", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("series", sa.Column("frame_of_reference_uid", sa.Text(), nullable=False, server_default=""))
    op.add_column("series", sa.Column("review", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("instances", sa.Column("z_mm", sa.Double(), nullable=True))
    op.execute(
        "UPDATE series SET registered = (SELECT count(*) FROM instances WHERE series_id = series.id),"
        " review = (rule IS NOT NULL AND (term IS NULL OR CAST(flags AS TEXT) <> '[]'))"
    )
    op.execute("UPDATE instances SET z_mm = position_mm")
    op.drop_index("ix_spans_region", table_name="spans")
    for table, indexes in INDEXES.items():
        for columns in indexes:
            op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)
    _create_text()
    _fill_text()


def downgrade() -> None:
    """Drop all of it."""
    op.execute("DROP TABLE series_text")
    for table, indexes in INDEXES.items():
        for columns in indexes:
            op.drop_index(f"ix_{table}_{'_'.join(columns)}", table_name=table)
    op.create_index("ix_spans_region", "spans", ["region"])
    op.drop_column("instances", "z_mm")
    for name in ("review", "frame_of_reference_uid", "registered"):
        op.drop_column("series", name)


def _create_text() -> None:
    if op.get_bind().dialect.name == "sqlite":
        options = "tokenize = 'unicode61 remove_diacritics 0', prefix = '2 3', columnsize = 0"
        op.execute(f"CREATE VIRTUAL TABLE series_text USING fts5(words, {options})")
        return
    op.execute(
        "CREATE TABLE series_text"
        " (series_id BIGINT PRIMARY KEY REFERENCES series (id), words TSVECTOR NOT NULL)"
    )
    op.execute("CREATE INDEX ix_series_text_words ON series_text USING gin (words)")


def _fill_text() -> None:
    bind = op.get_bind()
    last = 0
    while True:
        some = sa.text(f"SELECT id, {TEXTS} FROM series WHERE id > :last ORDER BY id LIMIT {BATCH}")  # noqa: S608
        rows = bind.execute(some, {"last": last}).all()
        if not rows:
            return
        last = rows[-1][0]
        regions: dict[int, list[str]] = {row[0]: [] for row in rows}
        shown = sa.text("SELECT series_id, region FROM spans WHERE series_id BETWEEN :first AND :last")
        for series_id, region in bind.execute(shown, {"first": rows[0][0], "last": last}):
            regions[series_id].append(region)
        with Session(bind) as session:
            store(session, [(row[0], document([*row[1:], *regions[row[0]]])) for row in rows])
            session.flush()
