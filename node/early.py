"""Series that are looked at before they are complete, which they count as when nothing came for a while.

A worker that has nothing else to do uses that while. What it sees is kept, in memory alone, and counts only
if the series is then made of just the files that were looked at; otherwise they are looked at again.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from db.records import ImageResult, Outcome
from model.read import ImageHeader
from node.glance import Artist
from node.storage.spool import SeriesKey
from rules.site import Facts, SiteRule

MOST: Final = 4
"""Series of which a worker keeps what it saw."""
REST: Final = 0.1
"""Share of `series.stable_age_s` after which a series to which nothing came is looked at."""
LEAST_S: Final = 0.1
LONGEST_S: Final = 1.0
WORTHWHILE_S: Final = 0.5
"""Where series are complete sooner than that there is no time to use."""
GROWTH: Final = 1.5
"""A series is looked at again once it has grown so many times, so that little work is in vain."""
PATIENCE_S: Final = 2.0
"""A look that takes longer ends when a stable series waits; short ones are not wasted by others."""
ENOUGH: Final = "enough"
"""What a worker is told that is to end its look."""


@dataclass(frozen=True, slots=True)
class Resting:
    """A series to which nothing came for a moment: its files in the spool, as they will be registered."""

    key: SeriesKey
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Looked:
    """What the files of a series gave.

    `known` is what the site's rules may ask of it, `rule` the one that skips it. `unreadable` are the files
    of which no header could be read. `outcome` is that of the pixels, before the site's rules.
    """

    paths: tuple[str, ...]
    known: Facts
    rule: SiteRule | None
    headers: Sequence[ImageHeader]
    unreadable: Sequence[ImageResult]
    outcome: Outcome
    artist: Artist | None


class Enough(Exception):  # noqa: N818 - nothing is wrong
    """A stable series needs the worker more than the one that it looks at, or the node is gone."""


def until_enough(connection: Connection, alive: Callable[[], None]) -> Callable[[], None]:
    """Return `alive` for a look that ends, by Enough, as soon as the node says anything."""

    def watched() -> None:
        alive()
        if connection.poll():
            raise Enough

    return watched


class Early:
    """What a worker saw of series that were not complete, the last few."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Looked] = OrderedDict()

    def keep(self, looked: Looked) -> None:
        """Keep what was seen, instead of what was seen of the same series before."""
        place = _place(looked.paths)
        self._kept.pop(place, None)
        self._kept[place] = looked
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def take(self, paths: tuple[str, ...], known: Facts) -> Looked | None:
        """Return what was seen of a series if it was made of just these files, and forget it."""
        looked = self._kept.pop(_place(paths), None) if paths else None
        return looked if looked is not None and (looked.paths, looked.known) == (paths, known) else None


def rest_s(stable_age_s: float) -> float | None:
    """Return after how many seconds without anything new a series is looked at; None: never."""
    return min(LONGEST_S, max(LEAST_S, REST * stable_age_s)) if stable_age_s >= WORTHWHILE_S else None


def _place(paths: Sequence[str]) -> str:
    """Return the folder of a series, relative to the instances."""
    return paths[0].rpartition("/")[0]
