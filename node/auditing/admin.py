"""What the node and its admins do, for the audit trail: starts, the configuration they use, commands."""

import getpass
import hashlib

from node.auditing.audit import APPLICATION_START, RESTRICTED_FUNCTION, Fact, Trail
from node.settings.config import Config
from node.version import VERSION


def started(trail: Trail, config: Config) -> None:
    """Note that the node runs, and a digest of its configuration, which tells whether it was changed.

    Passwords and tokens do not enter it: they are masked; the database and the broker are left out.
    """
    told = config.model_dump_json(exclude={"database": True, "scaling": {"broker"}})
    digest = hashlib.sha256(told.encode()).hexdigest()
    title = config.receive.ae_title
    trail.note(APPLICATION_START, succeeded=True, ae_title=title, version=VERSION, configuration=digest)


def commanded(config: Config, command: str, **facts: Fact) -> None:
    """Note what somebody asked of the node on the command line, and who (PS3.15 A.5)."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    asked(Trail(config.audit.file), user, command, **facts)


def asked(trail: Trail, user: str, command: str, **facts: Fact) -> None:
    """Note what a user asked of the node, on the command line or on the page (PS3.15 A.5)."""
    trail.note(RESTRICTED_FUNCTION, succeeded=True, command=command, user=user, **facts)
