"""An archive that does as it is told: answers any status, and keeps every copy it ever got."""

import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from node.delivery.scu import no_delay
from node.relabelling.part10 import Meta, meta_end
from node.storage.spool import data_set_digest
from tests.chaos.ledger import Copy, fixed
from tests.harness import free_port


class Archive:
    """A storage SCP of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.answers: defaultdict[str, list[int]] = defaultdict(list)
        """Statuses that an instance gets first, one after the other; then Success."""
        self._got: list[tuple[Path, bool]] = []
        self._seen: dict[Path, Copy] = {}
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None
        folder.mkdir(parents=True)

    def start(self) -> "Archive":
        """Listen."""
        ae = AE(ae_title="ARCHIVE")
        ae.supported_contexts = AllStoragePresentationContexts
        ae.add_supported_context(Verification)
        ae.maximum_associations = 100
        handlers = [(evt.EVT_CONN_OPEN, no_delay), (evt.EVT_C_STORE, self._store)]
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        assert isinstance(server, ThreadedAssociationServer)
        self._server = server
        return self

    def stop(self) -> None:
        """Close the port and abort what is under way."""
        if self._server is not None:
            self._server.shutdown()
            for association in self._server.active_associations:
                association.abort()
            self._server = None

    def distinct(self) -> int:
        """Return how many instances it has."""
        with self._lock:
            return len({path.name.split("+")[0] for path, kept in self._got if kept})

    def copies(self) -> list[Copy]:
        """Describe all that was ever received, in the order of arrival."""
        with self._lock:
            got = list(self._got)
        for path, kept in got:
            if path not in self._seen:
                uid, _, caller = path.stem.split("+")
                self._seen[path] = Copy(caller, uid, data_set_digest(path, meta_end(path)), fixed(path), kept)
        return [self._seen[path] for path, _ in got]

    def destination(self, name: str = "archive", **more: Any) -> dict[str, Any]:
        """Describe this archive in the node's configuration; a second name is a second calling AE title."""
        retry = {"first_s": 0.1, "maximum_s": 0.5} | more.pop("retry", {})
        where = {"host": "127.0.0.1", "port": self.port, "ae_title": "ARCHIVE"}
        where["calling_ae_title"] = name.upper()
        return {"name": name, "timeout_s": 10, "relabel": "always", "retry": retry} | where | more

    def _store(self, event: evt.Event) -> int:
        request = event.request
        uid = str(request.AffectedSOPInstanceUID)
        caller = str(event.assoc.requestor.ae_title).strip()
        with self._lock:
            status = self.answers[uid].pop(0) if self.answers[uid] else 0x0000
            path = self.folder / f"{uid}+{len(self._got)}+{caller}.dcm"
            self._got.append((path, status == 0 or 0xB000 <= status < 0xC000))
            meta = Meta(str(request.AffectedSOPClassUID), uid, str(event.context.transfer_syntax), "NODE")
            path.write_bytes(meta.encode() + request.DataSet.getvalue())
        return status
