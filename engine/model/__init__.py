"""The model: loading, hooks as data, decoding, forcing, weights; the only folder that imports torch.

Its names load their module when they are first asked for, so that who wants to know of devices does not load
transformer_lens. They stand in `__init__.pyi`.
"""

# lazy_loader has no types.
# pyright: basic

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
