"""Telling admins of troubles: by log, e-mail and webhook, one message for what changed."""
