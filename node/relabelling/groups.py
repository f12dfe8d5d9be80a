"""Functional groups of Enhanced multi-frame objects, read and rewritten in their encoded bytes.

Source: PS3.3 C.7.6.16. A group stands either in the one item that all frames share or in the item of
each frame, never in both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.relabelling import tags
from node.relabelling.encoded import ITEM, Buffer, Element, EncodedError, Syntax, items
from node.relabelling.splice import first_item, index, item, rewrapped, splice

Found = Mapping[int, Element]
Changes = Mapping[int, bytes | None]


@dataclass(frozen=True, slots=True)
class Group:
    """The functional groups of one item: the item and its elements by tag."""

    item: Element
    found: Found


@dataclass(frozen=True, slots=True)
class Groups:
    """The functional groups of an object; `shared` is None where there is no shared item."""

    shared: Group | None
    frames: tuple[Group, ...]

    def of(self, frame: int, tag: int) -> Element | None:
        """Return a functional group as it holds for a frame (counted from 0)."""
        own = self.frames[frame].found.get(tag)
        return own if own is not None or self.shared is None else self.shared.found.get(tag)


@dataclass(frozen=True, slots=True)
class GroupChanges:
    """What changes in the shared item and in each frame's: new groups by tag, None to remove one."""

    shared: Changes
    frames: tuple[Changes, ...]

    def writes(self, tag: int) -> bool:
        """Tell whether a functional group is written anywhere."""
        return any(changes.get(tag) is not None for changes in (self.shared, *self.frames))

    def and_(self, other: "GroupChanges") -> "GroupChanges":
        """Return these changes and others of the same frames."""
        if not self.frames or not other.frames:
            return self if self.frames else other
        both = zip(self.frames, other.frames, strict=True)
        return GroupChanges({**self.shared, **other.shared}, tuple({**one, **two} for one, two in both))


UNCHANGED: Final = GroupChanges({}, ())
"""No functional group changes."""


def read(data: Buffer, found: Found, syntax: Syntax) -> Groups | None:
    """Return the functional groups; None where the object has none for its frames.

    Raises EncodedError where they are encoded as UN, whose items cannot be edited, or are damaged.
    """
    shared, frames = found.get(tags.SHARED_GROUPS), found.get(tags.PER_FRAME_GROUPS)
    if frames is None:
        return None
    if any(each is not None and each.vr not in (b"SQ", b"") for each in (shared, frames)):
        raise EncodedError("the functional groups are no sequence")
    one = first_item(data, shared, syntax)
    return Groups(
        None if one is None else Group(one, index(data, syntax, one)),
        tuple(Group(each, index(data, syntax, each)) for each in items(data, frames, syntax)),
    )


def rewritten(
    data: Buffer, found: Found, groups: Groups, changes: GroupChanges, syntax: Syntax
) -> dict[int, bytes]:
    """Return the sequences of functional groups that change, encoded anew."""
    new: dict[int, bytes] = {}
    if changes.shared:
        new[tags.SHARED_GROUPS] = _shared(data, found, groups, changes.shared, syntax)
    if any(changes.frames):
        content = b"".join(
            _edited(data, group, own, syntax) if own else _bytes(data, group.item)
            for group, own in zip(groups.frames, changes.frames, strict=True)
        )
        new[tags.PER_FRAME_GROUPS] = rewrapped(data, found[tags.PER_FRAME_GROUPS], content, syntax)
    return new


def _shared(data: Buffer, found: Found, groups: Groups, changes: Changes, syntax: Syntax) -> bytes:
    old = found.get(tags.SHARED_GROUPS)
    if groups.shared is None:
        content = item([new for _, new in sorted(changes.items()) if new], syntax)
    else:
        content = _edited(data, groups.shared, changes, syntax)
    if old is None:
        old = Element(tags.SHARED_GROUPS, b"SQ", 0, 0, 0, undefined=False)
    return rewrapped(data, old, content, syntax)


def _edited(data: Buffer, group: Group, changes: Changes, syntax: Syntax) -> bytes:
    content = b"".join(splice(data, group.found, changes, syntax, group.item))
    return rewrapped(data, group.item, content, syntax)


def _bytes(data: Buffer, each: Element) -> bytes:
    assert each.tag == ITEM  # noqa: S101 - nothing else is asked for
    return bytes(data[each.start : each.end])
