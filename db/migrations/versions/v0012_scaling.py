"""Tables that several machines share: claims, processes, series that still grow, journeys, outages."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = ("outages", "journeys", "gathering", "processes", "claims")


def upgrade() -> None:
    """Add them, empty; versions before this one know nothing of them and go on."""
    text, time, number = (
        sa.Text(),
        sa.DateTime(timezone=True),
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
    )
    op.create_table(
        "claims",
        sa.Column("kind", text, nullable=False),
        sa.Column("subject", text, nullable=False),
        sa.Column("owner", text, nullable=False),
        sa.Column("until", time, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_claims"),
    )
    op.create_index("ix_claims_owner", "claims", ["owner"])
    op.create_table(
        "processes",
        sa.Column("name", text, nullable=False),
        sa.Column("role", text, nullable=False),
        sa.Column("version", text, nullable=False),
        sa.Column("started_at", time, nullable=False),
        sa.Column("seen_at", time, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_processes"),
    )
    for name, columns in (
        ("gathering", [sa.Column("last_at", time, nullable=False)]),
        (
            "journeys",
            [
                sa.Column("correlation_id", text, nullable=False),
                sa.Column("priority", sa.Integer(), nullable=False),
            ],
        ),
    ):
        op.create_table(
            name,
            sa.Column("series_id", number, nullable=False, autoincrement=False),
            *columns,
            sa.PrimaryKeyConstraint("series_id", name=f"pk_{name}"),
            sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=f"fk_{name}_series_id"),
        )
    op.create_index("ix_gathering_last_at", "gathering", ["last_at"])
    op.create_index("ix_journeys_correlation_id", "journeys", ["correlation_id"])
    op.create_index("ix_journeys_priority_series_id", "journeys", ["priority", "series_id"])
    op.create_table(
        "outages",
        sa.Column("destination", text, nullable=False),
        sa.Column("misses", sa.Integer(), nullable=False),
        sa.Column("since", time, nullable=False),
        sa.Column("not_before", time, nullable=False),
        sa.Column("why", text, nullable=False),
        sa.PrimaryKeyConstraint("destination", name="pk_outages"),
    )


def downgrade() -> None:
    """Drop them; series that still grew are stable at once."""
    for name in _TABLES:
        op.drop_table(name)
