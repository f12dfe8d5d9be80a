"""Hypothesis on what is read before anything is decoded: data sets, requests for commitment, multipart."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.dicomweb.stow import Malformed, TooMuch
from node.intake.commitment_wire import BadRequest, read_request
from node.intake.identify import identify
from node.status import Rejection
from node.storage.spool import UID_PATTERN
from tests.fuzz.mutations import damaged
from tests.fuzz.sequences import COMMITMENT_REQUEST, OBJECTS, http
from tests.node.test_stow import Intake, body

EXAMPLES = int(os.environ.get("BODYTAG_FUZZ_EXAMPLES", "200"))
SYNTAXES = st.sampled_from(
    ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.3"]
)
CAP_BYTES = 1 << 16

often = settings(
    max_examples=EXAMPLES, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def damaged_objects(draw: st.DrawFn) -> bytes:
    """A real data set with damage anywhere."""
    _, content = draw(st.sampled_from(OBJECTS))
    return damaged(content, random.Random(draw(st.integers(0, 1 << 64))))


@often
@given(st.one_of(st.binary(max_size=2000), damaged_objects()), SYNTAXES)
def test_a_data_set_is_identified_or_refused(data: bytes, syntax: str) -> None:
    """Whatever the bytes: either UIDs that are safe as file names, or a status; never another exception."""
    try:
        identity = identify(memoryview(data), syntax, CAP_BYTES)
    except Rejection:
        return
    key = identity.key
    for uid in (identity.sop_instance_uid, key.series_instance_uid, key.study_instance_uid):
        assert UID_PATTERN.fullmatch(uid)
        assert len(uid) <= 64


@often
@given(st.one_of(st.binary(max_size=500), st.integers(0, 1 << 64)), SYNTAXES)
def test_a_request_for_commitment_is_read_or_refused(data: bytes | int, syntax: str) -> None:
    """The same of action information."""
    content = damaged(COMMITMENT_REQUEST, random.Random(data)) if isinstance(data, int) else data
    try:
        asked = read_request(content, syntax, 10)
    except BadRequest:
        return
    assert 1 <= len(asked.references) <= 10
    assert UID_PATTERN.fullmatch(asked.transaction_uid)


@often
@given(seed=st.integers(0, 1 << 64), piece=st.integers(1, 4000))
def test_a_body_is_taken_apart_or_refused(tmp_path: Path, seed: int, piece: int) -> None:
    """Whatever is damaged in a multipart body: results for its parts or one sentence; no file elsewhere."""
    intake = Intake(tmp_path)
    content = b"".join(http(random.Random(seed))[1:]).replace(b"cut", b"cut-here")
    try:
        results = intake.take(content, piece)
    except (Malformed, TooMuch):
        return
    assert results
    assert all(path.is_relative_to(intake.spool.instances) for path in intake.stored())


@often
@given(content=st.binary(max_size=3000), piece=st.integers(1, 100))
@pytest.mark.filterwarnings("error")
def test_the_cut_of_a_body_changes_nothing(tmp_path: Path, content: bytes, piece: int) -> None:
    """Any bytes as a part have the same result at once and in pieces."""
    intake = Intake(tmp_path)
    whole = body(content)

    def outcome(size: int) -> list[int] | str:
        try:
            return [each.status for each in intake.take(whole, size)]
        except Malformed as error:
            return type(error).__name__

    assert outcome(len(whole)) == outcome(piece)
