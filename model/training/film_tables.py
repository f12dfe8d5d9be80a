"""The figures of radiographs as Markdown tables and as plain values."""

from collections.abc import Mapping, Sequence

from model.radiographs import GROUPS, PART_KEYS
from model.training.card import percent, table
from model.training.film_evaluation import Scored
from model.training.metrics import Figures
from model.training.provenance import Origin
from model.training.radiographs import Radiograph, training


def tables(scored: Sequence[Scored], swapped: Mapping[str, float]) -> str:
    """Return the tables of all sets that were scored, and the test of the shortcut where it was made."""
    pieces = [_whole(scored)]
    for one in scored:
        pieces += [f"#### XR. {one.name}", _sources(one), _classes(one.groups, "group")]
        pieces += [_confusion(one.groups)]
        if one.parts is not None:
            pieces += [_classes(one.parts, "part"), _mixed_up(one.parts)]
    if swapped:
        told = ", ".join(f"{name} {100 * share:.1f} %" for name, share in swapped.items())
        pieces.append(
            "Chests of validation given the tones, size and cut of a chest of the other age, taken for that "
            f"age: {told}."
        )
    return "\n\n".join(piece for piece in pieces if piece)


def _whole(scored: Sequence[Scored]) -> str:
    """Return one column a set."""
    rows: list[list[object]] = [
        ["images / subjects", *(f"{s.groups.slices} / {s.groups.subjects}" for s in scored)],
        ["five groups: accuracy %", *(percent(s.groups.weighted["sensitivity"]) for s in scored)],
        ["five groups: weighted F1 %", *(percent(s.groups.weighted["f1"]) for s in scored)],
        ["five groups: macro F1 %", *(percent(s.groups.macro["f1"]) for s in scored)],
        ["finer part: top-1 %", *(_of_parts(s, "weighted", "sensitivity") for s in scored)],
        ["finer part: macro F1 %", *(_of_parts(s, "macro", "f1") for s in scored)],
        ["adults taken for children %", *(_share(s, "adult_chest") for s in scored)],
        ["children taken for adults %", *(_share(s, "pediatric_chest") for s in scored)],
        [
            "expected calibration error, groups %",
            *(f"{100 * s.groups.calibration_error:.1f}" for s in scored),
        ],
    ]
    return table(["", *(s.name for s in scored)], rows)


def _of_parts(one: Scored, average: str, measure: str) -> str:
    return "-" if one.parts is None else percent(getattr(one.parts, average)[measure])


def _share(one: Scored, group: str) -> str:
    return f"{100 * one.confused[group]:.1f}" if group in one.confused else "-"


def _sources(one: Scored) -> str:
    named = ", ".join(f"{name} {images} images / {people}" for name, (images, people) in one.sources.items())
    return f"Sources and subjects: {named}."


def _classes(found: Figures, kind: str) -> str:
    rows = [
        [row.region, row.slices, row.subjects, percent(row.sensitivity), percent(row.specificity, False),
         percent(row.f1)]
        for row in found.regions
    ]  # fmt: skip
    return table([kind, "images", "subjects", "sensitivity %", "specificity %", "F1 %"], rows)


def _confusion(found: Figures) -> str:
    rows = [[name, *row[:-1]] for name, row in zip(GROUPS, found.confusion, strict=True) if sum(row)]
    return table(["truth \\ said", *GROUPS], rows)


def _mixed_up(found: Figures, most: int = 12) -> str:
    """Name the most frequent confusions of parts."""
    cells = [
        (count, truth, said)
        for truth, row in zip(PART_KEYS, found.confusion, strict=True)
        for said, count in zip(PART_KEYS, row[:-1], strict=True)
        if truth != said and count
    ]
    named = [f"{truth} as {said} {count}" for count, truth, said in sorted(cells, reverse=True)[:most]]
    return f"Most frequent confusions of parts: {', '.join(named)}." if named else ""


def by_source(rows: Sequence[tuple[str, Scored]]) -> str:
    """Return one line a source that was left out: the run that did, and what it made of it."""
    lines = [
        [name, one.groups.slices, one.groups.subjects, percent(one.groups.weighted["sensitivity"]),
         _of_parts(one, "weighted", "sensitivity"), _share(one, "adult_chest")]
        for name, one in rows
    ]  # fmt: skip
    heads = ["source left out", "images", "subjects", "group right %", "part right %", "adults as children %"]
    return table(heads, lines)


def plain(scored: Sequence[Scored], swapped: Mapping[str, float]) -> dict[str, object]:
    """Return everything as plain values for JSON and for the card beside the weights."""
    found: dict[str, object] = {one.name: _plain(one) for one in scored}
    return found | ({"swapped looks": dict(swapped)} if swapped else {})


def _plain(one: Scored) -> dict[str, object]:
    heads = {"groups": one.groups, "parts": one.parts}
    return {
        "sources": {name: list(counts) for name, counts in one.sources.items()},
        "confused ages": one.confused,
        **{name: _figures(found) for name, found in heads.items() if found is not None},
    }


def _figures(found: Figures) -> dict[str, object]:
    averages = {
        f"{average} {measure}": [round(number, 4) for number in (each.value, each.low, each.high)]
        for average in ("weighted", "macro")
        for measure, each in getattr(found, average).items()
    }
    return {
        "images": found.slices,
        "subjects": found.subjects,
        **averages,
        "calibration_error": round(found.calibration_error, 4),
        "confusion": [list(row) for row in found.confusion],
    }


def origins(rows: Sequence[Radiograph], left_out: Sequence[str]) -> tuple[Origin, ...]:
    """Return the sources that weights were trained on, by licence."""
    people: dict[tuple[str, str], set[str]] = {}
    images: dict[tuple[str, str], int] = {}
    for row in training(rows, left_out):
        key = row.source, row.licence
        people.setdefault(key, set()).add(row.subject)
        images[key] = images.get(key, 0) + 1
    return tuple(Origin(*key, "images", len(people[key]), images[key]) for key in sorted(people))
