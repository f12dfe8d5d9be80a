"""The section `scaling` of the configuration: what several machines that share the work need to know."""

from typing import Annotated

from pydantic import Field, field_validator

from node.settings.site import When
from node.settings.types import ConfigPath, Port, Seconds, Section

_SCHEMES = ("amqp://", "amqps://", "redis://", "rediss://")


class Scaling(Section):
    """The broker, the leases, how often things are looked at; of use only with `dispatch: celery`."""

    broker: str | None = Field(default=None, repr=False)
    ca: ConfigPath | None = None
    queues: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,30}$")] = "bodytag"
    register_s: Seconds = 1
    lease_s: Annotated[float, Field(ge=2, allow_inf_nan=False)] = 30
    sweep_s: Seconds = 5
    deliver_for_s: Seconds = 300
    give_up_after: Annotated[int, Field(ge=2)] = 5
    urgent: tuple[When, ...] = ()
    prior_after_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 30
    status_host: str = "127.0.0.1"
    status_port: Port | None = None
    traces: str | None = None

    @field_validator("broker")
    @classmethod
    def _known_broker(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(_SCHEMES):
            raise ValueError("a broker's address begins with amqp://, amqps://, redis:// or rediss://")
        return value

    @field_validator("urgent")
    @classmethod
    def _known_at_arrival(cls, conditions: tuple[When, ...]) -> tuple[When, ...]:
        for each in conditions:
            if each == When():
                raise ValueError("a condition that asks for nothing would make everything urgent")
            if each.conditions.of_verdict:
                raise ValueError("what the images show is not known yet when this is asked")
        return conditions
