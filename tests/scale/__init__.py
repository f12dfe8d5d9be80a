"""Several processes over one database, one spool and one broker, all of them real."""
