"""What every report shares: its parts, its look, and the one HTML page that they are laid out on.

`blocks` are a report's parts as plain data, `plotting` the look of figures, `numbers` how numbers
are written, and `render` turns sections into a page that needs nothing else, neither files nor a
network.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insilico.pages.page import render

__all__ = ["render"]


def __getattr__(name: str) -> Any:
    # A page takes a while to import, which writing a number need not wait for.
    if name == "render":
        from insilico.pages.page import render

        return render
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
