"""Charts and tables as data, in numbers and words, before anything is drawn.

Its names load their module when they are first asked for, so that a caption does not load numpy. They stand in
`__init__.pyi`.
"""

# lazy_loader has no types.
# pyright: basic

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
