"""The section `commitment` of the configuration: storage commitment, and where reports go."""

from typing import Annotated

from pydantic import Field, field_validator

from node.settings.destinations import Retry, Tls
from node.settings.types import AeTitle, Port, Seconds, Section


class CommitmentPeer(Section):
    """Where a requestor listens for the report, when the association on which it asked has ended."""

    ae_title: AeTitle
    host: str
    port: Port
    tls: Tls | None = None


class CommitmentSection(Section):
    """The node as SCP of storage commitment."""

    enabled: bool = True
    peers: tuple[CommitmentPeer, ...] = ()
    wait_s: Seconds = 60
    maximum_instances: Annotated[int, Field(ge=1)] = 100_000
    timeout_s: Seconds = 30
    retry: Retry = Retry()

    @field_validator("peers")
    @classmethod
    def _unique(cls, peers: tuple[CommitmentPeer, ...]) -> tuple[CommitmentPeer, ...]:
        titles = [peer.ae_title for peer in peers]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"two peers have the AE title '{twice[0]}'")
        return peers

    def peer(self, ae_title: str) -> CommitmentPeer | None:
        """Return the peer of that AE title, None if there is none."""
        return next((peer for peer in self.peers if peer.ae_title == ae_title), None)
