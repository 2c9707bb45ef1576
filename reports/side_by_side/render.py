"""The page of a comparison: the style of a report, two sides in every table."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from reports.drawing import Figure, palette_css
from reports.page.render import _environment, _own
from reports.side_by_side.flips import Compared


def render_comparison(found: Compared, figure: Figure | None, context: Mapping[str, Any]) -> str:
    """Return `index.html`. Every text from data is escaped; only our own style and SVG are not."""
    return (
        _environment()
        .get_template("compare.html.j2")
        .render(
            found=found,
            figure=figure,
            svg=Markup(figure.svg) if figure else "",  # noqa: S704
            style=Markup(palette_css() + "\n" + _own("style.css")),  # noqa: S704
            **context,
        )
    )
