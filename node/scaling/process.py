"""A process with one role, from its start to its end; and all roles on one machine, each in its process."""

import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import structlog

from db.session import migrate, open_migrated
from node.auditing.admin import started
from node.auditing.audit import APPLICATION_STOP, Trail
from node.delivery.destinations import remarks
from node.scaling import journey
from node.scaling.lease import Lease, new_name
from node.scaling.parts import Parts
from node.scaling.roles import ROLES
from node.scaling.status import Status
from node.settings.config import Config
from node.storage.spool import Spool
from node.version import VERSION

log = structlog.get_logger()

_AGAIN_S: Final = 2.0
_STOP_TIMEOUT_S: Final = 60.0


def serve_role(config: Config, role: str, ended: threading.Event) -> None:
    """Run one role until `ended` is set.

    Raises SpoolError, DatabaseError, TracesError or OSError when it cannot start.
    """
    trail = Trail(config.audit.file)
    trail.check()
    name = new_name(role)
    spool = Spool(config.spool.folder, int(config.spool.minimum_free), process=name)
    with ExitStack() as stack:
        stack.enter_context(spool.lock())
        journey.export_traces(config, role)
        stack.callback(journey.end_traces)
        if config.database.migrate_on_start:
            migrate(config.database.url)
        database = open_migrated(config.database.url, newer=True)
        stack.callback(database.close)
        for remark in remarks(config):
            log.warning(remark)
        parts = Parts(config, database, spool, Lease(database, name, role, config.scaling.lease_s), ended)
        running = ROLES[role](parts)
        status = _status(config, running.ready)
        stack.callback(status.stop if status else lambda: None)
        parts.start()
        running.start()
        log.info("bodytag runs", version=VERSION, role=role, process=name)
        started(trail, config)
        ended.wait()
        log.info("stopping")
        running.stop()
        parts.end()
        spool.clear_unfinished()
        trail.note(APPLICATION_STOP, succeeded=not parts.failed, ae_title=config.receive.ae_title)
        if parts.failed:
            raise OSError("a part of the process ended, see the log; it is to be started again")


def _status(config: Config, ready: threading.Event) -> Status | None:
    if config.scaling.status_port is None:
        return None
    status = Status(config.scaling.status_host, config.scaling.status_port, ready.is_set)
    status.start()
    return status


def serve_all(config_path: Path, config: Config, ended: threading.Event) -> None:
    """Run every role in a process of its own, started again when it ends, until `ended` is set."""
    if config.scaling.status_port is not None:
        log.warning("scaling.status_port: only one of several processes on this machine can have it")
    roles = [role for role in ROLES if role != "web" or config.web.enabled]
    if config.database.migrate_on_start:
        migrate(config.database.url)
    children = {role: _child(config_path, role) for role in roles}
    while not ended.wait(_AGAIN_S):
        for role, child in children.items():
            if child.poll() is not None:
                log.error("a process ended and is started again", role=role, status=child.returncode)
                children[role] = _child(config_path, role)
    for child in children.values():
        child.terminate()
    for child in children.values():
        child.wait(_STOP_TIMEOUT_S)


def _child(config_path: Path, role: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-m", "node", "serve", "--role", role, "--config", str(config_path)]
    return subprocess.Popen(arguments)
