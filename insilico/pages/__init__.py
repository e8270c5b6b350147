"""What every report shares: its parts, its look, and the one HTML page that they are laid out on.

`blocks` are a report's parts as plain data, `plotting` the look of figures, `numbers` how numbers
are written, and `render` turns sections into a page that needs nothing else, neither files nor a
network.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from insilico.pages.page import render

__all__ = ["render"]

# A page takes a while to import, which writing a number need not wait for.
__getattr__, *_ = lazy_loader.attach(__name__, submod_attrs={"page": ["render"]})
