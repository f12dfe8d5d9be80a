"""The page, seen from the node: its listener."""

import structlog

from node import metrics
from node.listening import Listener
from node.settings.config import Config
from node.web import server

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
        log.info("the page is there", url=f"{scheme}://{self.settings.host}:{self.port}/")
