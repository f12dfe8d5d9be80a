"""Several machines: the same functions as on one, as tasks, over one database and one shared spool."""
