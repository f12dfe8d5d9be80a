"""The spool on disk: files, room, retention."""
