"""Beginning a session: a new secret in the browser's cookie, its hash in the database."""

from datetime import timedelta

from fastapi import Request, Response

from db import accounts, sessions
from db.accounts import Origin, User
from node.web import cookies
from node.web.context import Context
from node.web.secrets import digest, new_secret


def start(request: Request, answer: Response, context: Context, user: User, origin: Origin) -> str:
    """Log a browser in and return the secret; a session that it had before is forgotten."""
    secret, lasts_s = new_secret(), context.config.web.session_timeout_s
    before, now = cookies.read(request, cookies.SESSION), context.clock()
    with context.database.session() as session:
        sessions.end(session, digest(before))
        sessions.begin(session, digest(secret), user.id, origin, now, timedelta(seconds=lasts_s))
        accounts.logged_in(session, user.id, now)
    cookies.write(request, answer, cookies.SESSION, secret, lasts_s)
    cookies.drop(request, answer, cookies.LOGIN_FORM)
    return secret
