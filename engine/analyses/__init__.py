"""Studies: what a session means. Each takes a session, and what it needs beside it, and gives tables or bands.

Nothing here draws, and nothing here imports torch: a study that needs the model's weights is given arrays. The names
load their module when they are first asked for; they stand in `__init__.pyi`.
"""

# lazy_loader has no types.
# pyright: basic

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
