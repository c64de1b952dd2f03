"""Runs as plans, journals and outcomes: everything about a run that needs no model.

Its names load their module when they are first asked for; they stand in `__init__.pyi`.
"""

# lazy_loader has no types.
# pyright: basic

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
