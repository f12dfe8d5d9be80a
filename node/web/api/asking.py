"""What a program asks of a list of series: the parameters of the address, checked; errors it may get."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from fastapi import Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from db.cursors import Order, Sorting
from db.pages import MAXIMUM_SIZE
from db.queries import Filters
from db.states import State
from model.radiographs import KNOWN_KEYS
from model.regions import UNKNOWN
from model.series_labels import AXES, PARTS

MAXIMUM_TEXT: Final = 200
_PARTS: Final = "|".join(PARTS)
_AXES: Final = "|".join(AXES)
_REGIONS: Final = "|".join((*KNOWN_KEYS, UNKNOWN))

Text = Annotated[str, Field(max_length=MAXIMUM_TEXT)]
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), le=datetime(2999, 12, 31, tzinfo=UTC))
]
SeriesId = Annotated[int, Path(ge=1, le=2**63 - 1, description="the series' number in this node's database")]


class Sentence(BaseModel):
    """An error: one sentence."""

    detail: str


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Sentence, "description": "What was asked cannot be understood"},
    401: {"model": Sentence, "description": "No token, or an unknown one"},
    403: {"model": Sentence, "description": "The user's role does not allow it"},
}
MISSING: Final[dict[int | str, dict[str, Any]]] = {
    **ERRORS,
    404: {"model": Sentence, "description": "There is no such series"},
}


class Question(BaseModel):
    """Which series are meant; all that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = Field(None, description="beginnings of words, all of which must occur")
    patient: Text | None = Field(None, description="Patient ID or name; * and ? are wild cards")
    study: Text | None = Field(None, description="Study Instance UID")
    series: Text | None = Field(None, description="Series Instance UID")
    modality: Text | None = None
    source: Text | None = Field(None, description="AE title of the sender")
    state: State | None = None
    region: str | None = Field(None, pattern=f"^({_REGIONS})$", description="a region that the series shows")
    term: Text | None = Field(None, description="the correction's or the verdict's term, or unknown")
    date_from: date | None = Field(None, description="study date, first")
    date_to: date | None = Field(None, description="study date, last")
    received_from: Moment | None = None
    received_to: Moment | None = None
    disagrees: bool | None = Field(None, description="whether the incoming tag was wrong by the verdict")
    corrected: bool | None = Field(None, description="whether a person corrected it")
    review_below: float | None = Field(
        None, ge=0, le=1, description="no term, a remark, or a confidence below this, and no correction"
    )

    part: str | None = Field(None, pattern=f"^({_PARTS})$", description="what a CT series is as a whole")
    axis: str | None = Field(None, pattern=f"^({_AXES})$", description="the axis of a CT series")
    contrast: str | None = Field(None, pattern="^(with|without)$", description="contrast in a CT series")
    contradicts: bool | None = Field(
        None, description="a CT series looks of another axis than its header says"
    )

    def filters(self) -> Filters:
        """Return them as the database asks."""
        given = self.model_dump(include=set(Question.model_fields))
        return Filters(disagreement=given.pop("disagrees"), **given)


class PageQuestion(Question):
    """Which page of them, in which order."""

    order: Order = Order.RECEIVED
    descending: bool = True
    size: int = Field(50, ge=1, le=MAXIMUM_SIZE)
    cursor: str | None = Field(None, max_length=2000, description="`next_cursor` of the page before")

    def sorting(self) -> Sorting:
        """Return the order."""
        return Sorting(self.order, self.descending)
