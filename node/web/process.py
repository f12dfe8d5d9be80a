"""The page, seen from the node: its listener."""

import structlog

from db.session import Database
from node import metrics
from node.auditing.audit import Trail
from node.listening import Listener
from node.settings.config import Config
from node.settings.web import is_loopback
from node.web import server
from node.web.users import FIRST, UserError, Users

log = structlog.get_logger()


class WebPage(Listener):
    """Keeps the page's process running; beside the database it asks for the node's counters alone."""

    def __init__(self, config: Config) -> None:
        super().__init__("web", config.web, config, server.main)

    def heard(self, message: object) -> object:
        """Tell the page what the node counts."""
        return metrics.exposition() if message == server.METRICS else None

    def listen(self) -> None:
        """Take the address; raises OSError when it is taken or the certificate cannot be used."""
        super().listen()
        scheme = "http" if self.settings.certificate is None else "https"
        if self.settings.certificate is None and not is_loopback(self.settings.host):
            log.warning("the page without TLS: passwords can be read on the way", host=self.settings.host)
        log.info("the page is there", url=f"{scheme}://{self.settings.host}:{self.port}/")


def first_login(config: Config, database: Database, trail: Trail) -> None:
    """Where nobody manages users yet, add an admin and print the password, once, and not into the log."""
    if not (config.web.enabled and config.web.passwords):
        return
    try:
        password = Users(database, trail, "bodytag serve").first_admin()
    except UserError as error:
        log.warning("the page has no admin: bodytag user role NAME admin makes one", reason=str(error))
        return
    if password is not None:
        print(
            f"The page has no admin yet. Log in as '{FIRST}', once, with the password {password}", flush=True
        )
