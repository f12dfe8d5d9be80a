"""The capacity plan: images a year against receivers, forwarders, workers, the spool and the database."""

import math
from dataclasses import dataclass
from typing import Final

_YEAR_S: Final = 365 * 86400
_PEAK: Final = 4.0
"""The busiest hour against the mean of the year: half of a day's images in four hours, five days a week."""
_BUSY: Final = 0.5
"""How much of a processor is counted on: the rest is for what a peak within the peak brings."""
_IMAGES_A_SERIES: Final = 100
_GPU_MS: Final = (2.0, 10.0)
"""Milliseconds an image on a GPU that the plan reckons with: no GPU was measured here."""
_DESTINATIONS: Final = 1
_YEARLY: Final = (10e6, 50e6, 200e6, 500e6)


@dataclass(frozen=True)
class Costs:
    """What an image costs: processor milliseconds of each role, and bytes that the database grows by.

    `worker_ms` is without the networks: reading, rules, writing.
    """

    images: int
    image_bytes: int
    receiver_ms: float
    worker_ms: float
    forwarder_ms: float
    database_bytes: float

    def markdown(self) -> str:
        """Write the costs as a table."""
        lines = [
            "### What an image costs",
            "",
            f"{self.images} images of {self.image_bytes / 1e6:.2f} MB in series of 100, "
            "one destination, every "
            "copy relabelled. Processor time of all processes of a role; the worker's is "
            "without the networks.",
            "",
            "| cost | of an image |",
            "|---|---:|",
            f"| receiver, processor | {self.receiver_ms:.2f} ms |",
            f"| worker without the networks, processor | {self.worker_ms:.2f} ms |",
            f"| forwarder, processor, for each destination | {self.forwarder_ms:.2f} ms |",
            f"| database, tables and indexes | {self.database_bytes:.0f} bytes |",
            f"| spool, written once, read twice | {self.image_bytes / 1e6:.2f} MB |",
        ]
        return "\n".join(lines) + "\n"


def plan(costs: Costs) -> str:
    """Write the plan."""
    lines = [
        "### Capacity plan",
        "",
        f"On paper, from the costs above. Peak: {_PEAK:g} times the mean of the year. "
        "Processes: so many that "
        f"one processor each is busy for {100 * _BUSY:.0f} % at the peak, and never fewer "
        "than two. GPUs: as many "
        f"as {_GPU_MS[0]:g} to {_GPU_MS[1]:g} ms an image take, a figure to be measured "
        "on the GPU in question, "
        f"not here. Spool: bandwidth at the peak, written, read for classifying, and for {_DESTINATIONS} "
        "destination. Database: rows of instances, deliveries and attempts, "
        f"{_IMAGES_A_SERIES} images a series.",
        "",
        "| images a year | mean/s | peak/s | receivers | workers' processors | GPUs | forwarders "
        "| spool MB/s | spool a day, TB | rows a year | database a year, GB |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(_row(costs, yearly) for yearly in _YEARLY),
        "",
        "What grows first is the spool: its bandwidth, and the room for as many days as a destination may be "
        "away. At 500 million images a year the database takes some hundred transactions "
        "a second at the peak, "
        "which one PostgreSQL server does; its tables want partitions by year, or an "
        "archive of old rows, before "
        "they reach a few TB.",
    ]
    return "\n".join(lines)


def _row(costs: Costs, yearly: float) -> str:
    mean = yearly / _YEAR_S
    peak = _PEAK * mean
    gpus = "–".join(str(max(1, math.ceil(peak * ms / 1000 / _BUSY))) for ms in _GPU_MS)
    rows = yearly * (1 + 2 * _DESTINATIONS + 3 / _IMAGES_A_SERIES)
    cells = [
        f"{yearly / 1e6:.0f} million",
        f"{mean:.1f}",
        f"{peak:.1f}",
        _processes(peak, costs.receiver_ms),
        _processes(peak, costs.worker_ms),
        gpus,
        _processes(peak, costs.forwarder_ms * _DESTINATIONS),
        f"{peak * costs.image_bytes * (2 + _DESTINATIONS) / 1e6:.0f}",
        f"{86400 * mean * costs.image_bytes / 1e12:.2f}",
        f"{rows / 1e6:.0f} million",
        f"{yearly * costs.database_bytes / 1e9:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _processes(peak: float, cost_ms: float) -> str:
    return str(max(2, math.ceil(peak * cost_ms / 1000 / _BUSY)))
