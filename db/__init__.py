"""Results and work states in SQLite or PostgreSQL."""
