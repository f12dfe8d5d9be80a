"""From the configuration of a destination to the way there, and what can be checked beforehand."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from node.delivery.folder import FolderOut
from node.delivery.scu import Peer
from node.delivery.stow import WebOut
from node.delivery.tls import client_context
from node.delivery.transport import PeerError, Transport
from node.settings.config import Config, ConfigError
from node.settings.destinations import Destination, DicomDestination, FolderDestination, WebDestination

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def transport(destination: Destination, calling_ae_title: str) -> Transport:
    """Return the way to a destination; `calling_ae_title` is the node's, where it has none of its own."""
    if isinstance(destination, DicomDestination):
        return Peer(
            destination.ae_title,
            destination.host,
            destination.port,
            destination.calling_ae_title or calling_ae_title,
            destination.timeout_s,
            destination.tls,
        )
    if isinstance(destination, WebDestination):
        return WebOut(destination)
    assert isinstance(destination, FolderDestination)  # noqa: S101 - there is no fourth kind
    return FolderOut(destination.folder)


def check(config: Config) -> None:
    """Look whether certificates and tokens can be read; raise ConfigError with the key's path."""
    for index, each in enumerate(config.destinations):
        tls = getattr(each, "tls", None)
        try:
            if tls is not None:
                client_context(tls)
            if isinstance(each, WebDestination) and each.token_file is not None:
                each.token_file.read_text(encoding="ascii")
        except PeerError as error:
            raise ConfigError(f"destinations.{index}.tls: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"destinations.{index}.token_file: cannot be read") from error


def remarks(config: Config) -> Iterator[str]:
    """Yield what is allowed, but should be known."""
    for each in config.destinations:
        if not isinstance(each, WebDestination) or each.url.startswith("https://"):
            continue
        secret = each.user or each.token or each.token_file
        if secret and urlsplit(each.url).hostname not in _THIS_MACHINE:
            yield f"destination {each.name}: the login crosses the network readable; use https://"
