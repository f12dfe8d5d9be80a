"""Charts of the dashboard as SVG: bars by the hour, and single bars that show a share."""

from collections.abc import Sequence

from markupsafe import Markup

from db.dashboard import Hour


def by_hour(hours: Sequence[Hour]) -> Markup:
    """Draw images by the hour as upright bars; the last one, which is not over yet, is pale."""
    most = max((each.images for each in hours), default=0)
    bars = []
    for index, each in enumerate(hours):
        high = each.images / most * 96 if most else 0.0
        bars.append(
            Markup(
                '<rect{} x="{:.2f}" y="{:.2f}" width="0.84" height="{:.2f}"><title>{}</title></rect>'
            ).format(
                Markup(' class="now"') if index == len(hours) - 1 else "", index + 0.08, 100 - high, high,
                f"{each.at:%Y-%m-%d %H:00} UTC: {each.images} images in {each.series} series",
            )
        )  # fmt: skip
    told = f"Images by the hour, at most {most}; {sum(each.images for each in hours)} in {len(hours)} hours"
    return Markup(
        '<svg class="bars" viewBox="0 0 {} 100" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path d="M0 100H{}"/>{}</svg>'
    ).format(len(hours), told, len(hours), Markup("").join(bars))


def share(part: float, whole: float, badge: str = "") -> Markup:
    """Draw a part of a whole as a bar; the numbers stand beside it."""
    width = min(100.0, max(0.0, part / whole * 100)) if whole > 0 else 0.0
    return Markup(
        '<svg class="bar-of {}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{:.2f}" height="8"/></svg>'
    ).format(badge, width)
