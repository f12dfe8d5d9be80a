"""Tables that several machines share: claims, processes, series that still grow, journeys, outages."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = ("outages", "journeys", "gathering", "processes", "claims")


def upgrade() -> None:
    """Add them, empty; versions before this one know nothing of them and go on."""
    text, time, count = sa.Text(), sa.DateTime(timezone=True), sa.Integer()
    columns = {"kind": text, "subject": text, "owner": text, "until": time, "times": count}
    _create("claims", columns, "kind", "subject")
    op.create_index("ix_claims_owner", "claims", ["owner"])
    columns = {"name": text, "role": text, "version": text, "started_at": time, "seen_at": time}
    _create("processes", columns, "name")
    _create_of_series("gathering", sa.Column("last_at", time, nullable=False))
    op.create_index("ix_gathering_last_at", "gathering", ["last_at"])
    _create_of_series(
        "journeys",
        sa.Column("correlation_id", text, nullable=False),
        sa.Column("priority", count, nullable=False),
    )
    op.create_index("ix_journeys_correlation_id", "journeys", ["correlation_id"])
    op.create_index("ix_journeys_priority_series_id", "journeys", ["priority", "series_id"])
    columns = {"destination": text, "misses": count, "since": time, "not_before": time, "why": text}
    _create("outages", columns, "destination")


def downgrade() -> None:
    """Drop them; series that still grew are stable at once."""
    for name in _TABLES:
        op.drop_table(name)


def _create(name: str, columns: dict[str, Any], *key: str) -> None:
    made = [sa.Column(column, kind, nullable=False) for column, kind in columns.items()]
    op.create_table(name, *made, sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"))


def _create_of_series(name: str, *columns: "sa.Column[Any]") -> None:
    op.create_table(
        name,
        sa.Column(
            "series_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            autoincrement=False,
        ),
        *columns,
        sa.PrimaryKeyConstraint("series_id", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=f"fk_{name}_series_id"),
    )
