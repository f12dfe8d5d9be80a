"""Tests of the patient state machine: what fuzzing found, and that nothing else is forgiven."""

import queue
from pathlib import Path
from types import SimpleNamespace

import pytest
from pynetdicom.fsm import InvalidEventError

from node.intake.upper_layer import Patient
from tests.node.hostile import connected, ended_s, listening, pdu, request, served_s

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("event", ["Evt7", "Evt9", "Evt14", "Evt15"])
@pytest.mark.parametrize("state", ["Sta1", "Sta2", "Sta13"])
def test_an_answer_to_nobody_is_dropped(event: str, state: str) -> None:
    """What is sent after the peer was cut off is taken from the queue, and the thread lives on."""
    waiting: queue.Queue[str] = queue.Queue()
    waiting.put("an answer")
    machine = Patient(SimpleNamespace(to_provider_queue=waiting))
    machine.current_state = state
    machine.do_action(event)
    assert waiting.empty()
    assert machine.current_state == state


def test_other_events_out_of_place_are_still_errors() -> None:
    """An acceptance within an association is a fault of the program."""
    machine = Patient(SimpleNamespace(to_provider_queue=queue.Queue()))
    machine.current_state = "Sta6"
    with pytest.raises(InvalidEventError):
        machine.do_action("Evt7")


def test_what_follows_a_request_at_once_ends_the_association_alone(tmp_path: Path) -> None:
    """Forbidden PDUs in one piece with the request: cut, and no thread fails; others are served."""
    with listening(tmp_path, association_timeout_s=5) as node:
        for kind in (1, 2, 3, 6, 8, 255) * 5:
            with connected(node.port) as connection:
                connection.sendall(request() + pdu(kind, b"\0" * 4))
                ended_s(connection)
        for source in (1, 92, 175, 255):
            with connected(node.port) as connection:
                connection.sendall(request() + pdu(7, bytes((0, 0, source, source))))
                ended_s(connection)
        assert served_s(node.peer()) < 30
