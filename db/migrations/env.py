"""What Alembic runs for every command: it migrates over the connection that session.py hands it.

The connection's transaction belongs to the caller, so that a migration is done as a whole or not at all.
"""

from alembic import context

from db import scaling, wholes
from db.tables import Base

_ = scaling, wholes  # their tables are part of Base.metadata from here on

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
