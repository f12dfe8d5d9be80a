"""The JSON API: lists by cursor, one series, corrections, exports, and who may do what."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from starlette.testclient import TestClient

from db.accounts import Role
from db.records import Route
from db.results import record_outcome
from db.session import migrate, open_database
from node.web.context import Context, make_context
from tests.db.values import NOW, add_series, outcome
from tests.web.serving import client_of, page_config

SERIES = "/api/v1/series"


@contextmanager
def open_context(folder: Path) -> Iterator[Context]:
    """Make a context on an empty SQLite database in a folder."""
    config = page_config(folder)
    migrate(config.database.url)
    database = open_database(config.database.url)
    yield make_context(config, database)
    database.close()


def fill(context: Context) -> None:
    """Store five classified CT series of three images, two of them in one Frame of Reference."""
    with context.database.session() as session:
        for number in range(1, 6):
            place = "9.9" if number < 3 else f"9.{number}"
            series_id = add_series(
                session, number,
                incoming_body_part="HEAD", frame_of_reference_uid=place, patient_id="P",
                patient_name="=2+2^Jane",
            )  # fmt: skip
            found = outcome(3, number)
            images = tuple(replace(image, z_mm=image.position_mm) for image in found.images)
            routes = [Route("archive", "write")]
            record_outcome(session, series_id, replace(found, images=images), routes, NOW)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A context that the tests leave as it is."""
    with open_context(tmp_path_factory.mktemp("api")) as context:
        fill(context)
        yield context


@pytest.fixture
def fresh(context: Context) -> Context:
    """The same, for a test that changes something."""
    fill(context)
    return context


@pytest.fixture(scope="module")
def operator(filled: Context) -> TestClient:
    """A program with an operator's token."""
    return client_of(filled, Role.OPERATOR)


def test_cursors_lead_through_the_list(operator: TestClient) -> None:
    """Every series comes once, in order; the last page has no cursor."""
    found, asked = [], {"size": "2", "text": "jane", "order": "study_date", "descending": "false"}
    while True:
        page = operator.get(SERIES, params=asked).json()
        found += [row["series_id"] for row in page["rows"]]
        assert (page["total"], page["exact"]) == (5, True)
        if page["next_cursor"] is None:
            break
        asked["cursor"] = page["next_cursor"]
    assert found == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 5),
        ({"modality": "CT", "state": "classified", "region": "chest", "term": "CHEST"}, 5),
        ({"disagrees": "true", "corrected": "false", "date_from": "2024-01-02", "date_to": "2024-01-02"}, 5),
        ({"disagrees": "false"}, 0),
        ({"study": "1.2.3"}, 1),
        ({"series": "1.2.3.1", "source": "SCANNER", "patient": "P"}, 1),
        ({"received_from": "2024-05-06T09:08:09+02:00", "received_to": "2024-05-06T07:08:09Z"}, 0),
        ({"review_below": "0.5"}, 5),
        ({"text": "nobody"}, 0),
    ],
)
def test_filters_are_those_of_the_page(operator: TestClient, asked: dict[str, str], count: int) -> None:
    """Each parameter narrows the list."""
    answer = operator.get(SERIES, params=asked)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["rows"]) == count


@pytest.mark.parametrize(
    "asked",
    [
        {"colour": "blue"}, {"size": "0"}, {"size": "501"}, {"region": "torso"}, {"state": "lost"},
        {"date_from": "yesterday"}, {"received_from": "2024-05-06T07:08:09"}, {"review_below": "nan"},
        {"received_from": "0001-01-01T00:00:00+14:00"}, {"text": "x" * 201}, {"order": "beauty"},
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(operator: TestClient, asked: dict[str, str]) -> None:
    """A parameter that is unknown or beyond its limits is refused and named."""
    answer = operator.get(SERIES, params=asked)
    assert answer.status_code == 422
    assert next(iter(asked)) in str(answer.json()["detail"])


def test_a_foreign_cursor_is_refused(operator: TestClient) -> None:
    """A cursor that was not made for this order gets one sentence."""
    answer = operator.get(SERIES, params={"cursor": "abc"})
    assert (answer.status_code, answer.json()["detail"][:10]) == (400, "the cursor")


def test_one_series_in_full(operator: TestClient) -> None:
    """The series, its images from the feet up, and its deliveries; nothing for a number that nobody has."""
    row = operator.get(f"{SERIES}/1").json()
    assert (row["term"], row["incoming_body_part"], row["corrections"]) == ("CHEST", "HEAD", [])
    assert "disagrees" in row["explanation"]
    images = operator.get(f"{SERIES}/1/images").json()
    assert [image["z_mm"] for image in images] == [5.0, 10.0, 15.0]
    sent = operator.get(f"{SERIES}/1/deliveries", params={"size": 2}).json()
    assert (len(sent["rows"]), sent["total"]) == (2, 3)
    assert [operator.get(f"{SERIES}/9{part}").status_code for part in ("", "/images", "/deliveries")] == [
        404
    ] * 3
    assert operator.get(f"{SERIES}/{2**63}").status_code == 422


def test_a_correction_is_kept_carried_and_noted(fresh: Context) -> None:
    """It holds beside the verdict, the other series of the place follows, and the audit trail knows who."""
    operator = client_of(fresh, Role.OPERATOR)
    ranges = [
        {"region": "abdomen", "low_mm": 10, "high_mm": 5},
        {"region": "chest", "low_mm": 12, "high_mm": 15},
    ]
    answer = operator.post(f"{SERIES}/1/corrections", json={"ranges": ranges, "note": "seen"})
    assert answer.status_code == 201, answer.text
    done = answer.json()
    assert (done["correction"]["term"], done["carried_to"], done["deliveries"]) == ("CHESTABDOMEN", [2], 0)
    row = operator.get(f"{SERIES}/1").json()
    assert (row["term"], row["corrected_term"], row["corrections"][0]["made_by"]) == (
        "CHEST", "CHESTABDOMEN", "operator",
    )  # fmt: skip
    [carried] = operator.get(f"{SERIES}/2/corrections").json()
    assert carried["carried_from"] == done["correction"]["correction_id"]
    assert len(operator.get(SERIES, params={"term": "CHESTABDOMEN"}).json()["rows"]) == 2
    assert fresh.config.audit.file is not None
    assert '"command":"correct","user":"operator"' in fresh.config.audit.file.read_text()


@pytest.mark.parametrize(
    ("ranges", "status", "sentence"),
    [
        ([{"region": "torso"}], 400, "there is no region"),
        ([{"region": "chest", "low_mm": 900, "high_mm": 950}], 400, "no image lies between"),
        ([], 422, "ranges"),
        ([{"region": "chest", "low_mm": 1e9}], 422, "low_mm"),
    ],
)
def test_a_correction_that_does_not_fit_is_refused(
    operator: TestClient, ranges: list[object], status: int, sentence: str
) -> None:
    """One sentence, and nothing is kept."""
    answer = operator.post(f"{SERIES}/1/corrections", json={"ranges": ranges})
    assert answer.status_code == status
    assert sentence in answer.text
    assert operator.get(f"{SERIES}/1/corrections").json() == []


def test_viewers_change_nothing(filled: Context) -> None:
    """A viewer's token reads; correcting and sending again need an operator; nobody needs to log in first."""
    viewer, nobody = client_of(filled, Role.VIEWER), client_of(filled)
    assert viewer.get(SERIES).status_code == 200
    body = {"ranges": [{"region": "head"}]}
    assert viewer.post(f"{SERIES}/1/corrections", json=body).status_code == 403
    assert viewer.post(f"{SERIES}/1/deliveries", json={}).status_code == 403
    for path in (
        SERIES,
        f"{SERIES}/1",
        "/api/v1/export/series.csv",
        "/api/v1/backlog",
        "/api/v1/openapi.json",
    ):
        assert nobody.get(path).status_code == 401


def test_sending_again(operator: TestClient) -> None:
    """Only to destinations that exist."""
    answer = operator.post(f"{SERIES}/1/deliveries", json={"destinations": ["moon"]})
    assert (answer.status_code, answer.json()["detail"]) == (400, "there is no destination 'moon'")
    assert operator.post(f"{SERIES}/1/deliveries", json={}).json() == {"deliveries": 0}
    assert operator.get("/api/v1/backlog").json()["queues"]["archive"]["pending"] == 15


def test_csv_and_parquet_hold_the_same(operator: TestClient) -> None:
    """Every matching series once, in both; a spreadsheet finds no formula."""
    asked = {"region": "chest"}
    answer = operator.get("/api/v1/export/series.csv", params=asked)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    table = pyarrow.parquet.read_table(
        io.BytesIO(operator.get("/api/v1/export/series.parquet", params=asked).content)
    )
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["series_id"] for row in rows] == ["5", "4", "3", "2", "1"]
    assert {row["patient_name"] for row in rows} == {"'=2+2^Jane"}
    assert rows[0]["spans"] == "chest 5.0..15.0"
    assert table.column("series_id").to_pylist() == [5, 4, 3, 2, 1]
    assert table.column("received_at").to_pylist() == [NOW] * 5
    assert table.column("spans").to_pylist()[0][0]["region"] == "chest"
    assert table.column_names == list(rows[0])


def test_labels_are_exported(fresh: Context) -> None:
    """What people corrected, by hand or carried over, as training reads it."""
    operator = client_of(fresh, Role.OPERATOR)
    ranges = [{"region": "abdomen", "low_mm": 5, "high_mm": 10}]
    assert operator.post(f"{SERIES}/1/corrections", json={"ranges": ranges}).status_code == 201
    told = operator.get("/api/v1/export/labels.csv").text
    assert told.splitlines() == [
        "series_uid,region,from_mm,to_mm",
        "1.2.1.1,abdomen,5.0,10.0",
        "1.2.2.1,abdomen,5.0,10.0",
        "1.2.2.1,chest,15.0,15.0",
    ]
    assert len(operator.get("/api/v1/export/labels.csv", params={"carried": False}).text.splitlines()) == 2
