"""The picture of a series, drawn by the worker beside its work; its failure harms nothing else."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from db.records import ImageResult
from model.read import Image, ImageHeader, UndecodableError, read_pixels
from node import sheet
from node.pictures import Sketch, spread
from node.storage.spool import SeriesKey, Spool, picture_path

log = structlog.get_logger()

UNCLASSIFIED: Final = 12
"""Images that are decoded for the picture alone, of a series that is passed on."""

Look = Callable[[ImageHeader, Image], None]


def ignore(header: ImageHeader, image: Image) -> None:
    """Look away."""
    del header, image


class Artist:
    """Looks at the images that the worker decodes, and draws them once the outcome is stored."""

    def __init__(self, alive: Callable[[], None]) -> None:
        self._alive = alive
        self._sketch: Sketch | None = Sketch()
        self._looked = False

    def look(self, header: ImageHeader, image: Image) -> None:
        """Keep of a decoded image what the picture needs; after a failure there will be no picture."""
        if self._sketch is None:
            return
        self._looked = True
        try:
            self._sketch.add(header, image)
        except Exception:
            log.exception("an image could not be sketched; its series gets no picture")
            self._sketch = None

    def finish(
        self,
        headers: Sequence[ImageHeader],
        images: Sequence[ImageResult],
        spool: Spool,
        stored: Sequence[str],
    ) -> bool:
        """Draw and write the picture of the series whose files are `stored`; False where there is none.

        Of a series that is only passed on a few images are decoded for it.
        """
        try:
            if not self._looked:
                self._glance(headers)
            drawn = self._sketch.sheet(images) if self._sketch is not None else None
            if drawn is None or spool.room.short():
                return False
            study, series, _ = stored[0].split("/")
            key = SeriesKey(study, series)
            spool.room.changed(sheet.write(picture_path(spool.folder, key), drawn))
        except BrokenPipeError:
            raise  # the node is gone; the worker ends
        except Exception:
            log.exception("a series could not be drawn; it goes on without a picture")
            return False
        return True

    def _glance(self, headers: Sequence[ImageHeader]) -> None:
        some = [header for header in headers if header.pixel_data_bytes and header.samples_per_pixel == 1]
        some.sort(key=lambda header: (header.instance_number, header.frame.index if header.frame else 0))
        for index in spread(len(some), UNCLASSIFIED):
            self._alive()
            try:
                self.look(some[index], read_pixels(some[index]))
            except UndecodableError:
                continue
