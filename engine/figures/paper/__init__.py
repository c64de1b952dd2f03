"""Charts for papers: what the screen's charts show, drawn by matplotlib with real curves, fills and text.

Matplotlib is loaded when the first figure is drawn.
"""

# lazy_loader has no types.
# pyright: basic

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
