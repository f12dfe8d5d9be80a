"""The sheet: strips and tiles of a series put together into one JPEG that says itself what lies where."""

import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import TypeAdapter, ValidationError

Grey = NDArray[np.uint8]
Kind = Literal["coronal", "sagittal", "tile"]

PER_ROW: Final = 8
QUALITY: Final = 85
MAXIMUM_BYTES: Final = 1024 * 1024
"""A sheet is far smaller; anything larger is none."""
MAXIMUM_SIDE: Final = 2048


@dataclass(frozen=True)
class Drawn:
    """One drawing: `pixels` uint8 (rows, columns); strips have the mm of their upper and lower edge.

    A tile shows the frame `frame` (-1: there are no frames) of the instance `sop_instance_uid`.
    """

    kind: Kind
    sop_instance_uid: str
    frame: int
    pixels: Grey
    top_mm: float | None
    bottom_mm: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """Where a drawing lies on the sheet, in pixels; the rest as in Drawn."""

    kind: Kind
    x: int
    y: int
    width: int
    height: int
    sop_instance_uid: str
    frame: int
    top_mm: float | None
    bottom_mm: float | None


@dataclass(frozen=True, slots=True)
class Layout:
    """What a sheet of `width` x `height` pixels holds."""

    width: int
    height: int
    parts: tuple[Part, ...]

    @property
    def strips(self) -> tuple[Part, ...]:
        """The drawings along the body."""
        return tuple(part for part in self.parts if part.kind != "tile" and part.top_mm is not None)

    @property
    def tiles(self) -> tuple[Part, ...]:
        """The single images."""
        return tuple(part for part in self.parts if part.kind == "tile")


@dataclass(frozen=True)
class Sheet:
    """A sheet that is drawn: `pixels` uint8 (rows, columns)."""

    pixels: Grey
    layout: Layout


_LAYOUT: Final = TypeAdapter(Layout)


def put_together(strips: Sequence[Drawn], tiles: Sequence[Drawn]) -> Sheet:
    """Lay strips side by side, and the tiles in rows of PER_ROW below them; the rest is black."""
    places: list[tuple[Drawn, int, int]] = []
    x = y = 0
    for strip in strips:
        places.append((strip, x, 0))
        x, y = x + strip.pixels.shape[1], max(y, strip.pixels.shape[0])
    for number, tile in enumerate(tiles):
        side = tile.pixels.shape[0]
        places.append((tile, number % PER_ROW * side, y + number // PER_ROW * side))
    width = max(left + each.pixels.shape[1] for each, left, _ in places)
    height = max(top + each.pixels.shape[0] for each, _, top in places)
    pixels = np.zeros((height, width), np.uint8)
    for each, left, top in places:
        rows, columns = each.pixels.shape
        pixels[top : top + rows, left : left + columns] = each.pixels
    return Sheet(pixels, Layout(width, height, tuple(_part(*place) for place in places)))


def _part(each: Drawn, x: int, y: int) -> Part:
    rows, columns = each.pixels.shape
    where = (each.sop_instance_uid, each.frame, each.top_mm, each.bottom_mm)
    return Part(each.kind, x, y, columns, rows, *where)


def write(path: Path, sheet: Sheet) -> int:
    """Write a sheet as a JPEG whose comment is its layout; return its bytes. Raises OSError."""
    content = io.BytesIO()
    comment = json.dumps(asdict(sheet.layout), separators=(",", ":")).encode()
    Image.fromarray(sheet.pixels).save(content, "JPEG", quality=QUALITY, optimize=True, comment=comment)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(content.getvalue())
    unfinished.replace(path)
    return content.tell()


def read_layout(path: Path) -> Layout | None:
    """Return what a sheet holds, without decoding it; None where there is none, or no such picture."""
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            return None
        with Image.open(path, formats=["JPEG"]) as image:
            size, comment = image.size, image.info.get("comment", b"")
        layout = _LAYOUT.validate_json(comment)
    except (OSError, UnidentifiedImageError, ValidationError, ValueError):
        return None
    return layout if size == (layout.width, layout.height) and max(size) <= MAXIMUM_SIDE else None
