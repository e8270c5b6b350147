"""Small multiples: equal panels side by side and below each other in one figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from insilico.pages import plotting

MARGINS = 106
"""Height of a figure beside its panels (pixels)."""

GAP = 62
"""Between two rows of panels, for a title of one line and an axis."""

AXIS_TITLE = 18
"""Between two rows besides, where panels that are not the last have titles of their own axes."""

LETTERS = 118
"""Of titles side by side, over the width of a figure."""

LINE = 15
"""Height of a further line of a title."""


@dataclasses.dataclass(frozen=True)
class Panels:
    """Panels of one figure, counted row by row.

    **Arguments:**

    - `titles`: of each panel.
    - `across`: how many side by side at the most.
    - `height`: of a panel (pixels).
    - `own_axes`: whether each panel has a title of its x axis of its own.
    """

    titles: Sequence[str]
    across: int = 3
    height: int = 220
    own_axes: bool = False

    @property
    def columns(self) -> int:
        """How many side by side."""
        return plotting.columns_of(len(self.titles), self.across)

    @property
    def rows(self) -> int:
        """How many below each other."""
        return -(-len(self.titles) // self.columns)

    @property
    def total_height(self) -> int:
        """Of the whole figure (pixels)."""
        own = self.rows * self.height + (self.rows - 1) * self._gap
        return own + MARGINS + self._further_lines

    @property
    def _wrapped(self) -> list[str]:
        """The titles, in lines that do not run into the next panel."""
        width = LETTERS // self.columns
        return [f"<b>{plotting.wrapped(title, width)}</b>" for title in self.titles]

    @property
    def _further_lines(self) -> int:
        """Height that titles of more than one line take."""
        return LINE * max((title.count("<br>") for title in self._wrapped), default=0)

    @property
    def _gap(self) -> int:
        return GAP + self._further_lines + AXIS_TITLE * self.own_axes

    def on(self, panel: int) -> dict[str, Any]:
        """What puts a trace on a panel's axes."""
        return {
            "xaxis": plotting.numbered("x", panel),
            "yaxis": plotting.numbered("y", panel),
        }

    def layout(
        self,
        x: str | Sequence[str],
        y: str | Sequence[str],
        *,
        of_x: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
        of_y: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
        gap: float = 0.06,
        **changes: Any,
    ) -> dict[str, Any]:
        """The figure's layout; titles and settings of axes are one for all panels or one each.

        A title that all panels share stands at the outer panels alone.
        """
        count = len(self.titles)
        wide = plotting.domains(self.columns, gap)
        high = plotting.stacked([float(self.height)] * self.rows, self._gap)
        axes: dict[str, Any] = {}
        annotations = []
        for panel, title in enumerate(self._wrapped):
            column, row = panel % self.columns, panel // self.columns
            last = panel + self.columns >= count
            axes[plotting.numbered("xaxis", panel)] = plotting.axis(
                x[panel] if not isinstance(x, str) else x if last else "",
                domain=wide[column],
                anchor=plotting.numbered("y", panel),
                **_own(of_x, panel),
            )
            axes[plotting.numbered("yaxis", panel)] = plotting.axis(
                y[panel] if not isinstance(y, str) else y if column == 0 else "",
                domain=high[row],
                anchor=plotting.numbered("x", panel),
                **_own(of_y, panel),
            )
            annotations.append(plotting.title(title, wide[column][0], high[row][1], markup=True))
        if changes.get("showlegend"):
            # The legend stands above the titles of the first row.
            top = 56 + self._further_lines
            changes = {"margin": {"l": 60, "r": 16, "t": top, "b": 50}, **changes}
        return plotting.layout(self.total_height, **{"annotations": annotations, **axes, **changes})


def _own(settings: Mapping[str, Any] | Sequence[Mapping[str, Any]], panel: int) -> dict[str, Any]:
    if isinstance(settings, Mapping):
        return dict(settings)
    return dict(settings[panel]) if settings else {}


def curve(x: Any, y: Any, colour: str, *, width: float = 2.0, **changes: Any) -> dict[str, Any]:
    """A line through points; breaks where one is not finite."""
    return {
        "type": "scatter",
        "x": plotting.plain_list(x),
        "y": plotting.plain_list(y),
        "mode": "lines",
        "line": {"color": colour, "width": width, **changes.pop("line", {})},
        **changes,
    }


def points(x: Any, y: Any, colour: str, *, size: float = 5, **changes: Any) -> dict[str, Any]:
    """Points."""
    return {
        "type": "scatter",
        "x": plotting.plain_list(x),
        "y": plotting.plain_list(y),
        "mode": "markers",
        "marker": {"color": colour, "size": size, **changes.pop("marker", {})},
        **changes,
    }


def ribbon(x: Any, low: Any, high: Any, colour: str, opacity: float, **changes: Any) -> dict:
    """The area between two curves, where both are finite."""
    x, low, high = (np.asarray(values, float) for values in (x, low, high))
    known = np.isfinite(low) & np.isfinite(high)
    around = np.concatenate([low[known], high[known][::-1]])
    return {
        "type": "scatter",
        "x": plotting.plain_list(np.concatenate([x[known], x[known][::-1]])),
        "y": plotting.plain_list(around),
        "mode": "lines",
        "fill": "toself",
        "fillcolor": plotting.translucent(colour, opacity),
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
        **changes,
    }
