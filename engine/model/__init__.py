"""The model: loading, hooks as data, decoding, forcing, weights; the only folder that imports torch.

Its names load their module when they are first asked for, so that who wants to know of devices does not load
transformer_lens. They stand in `__init__.pyi`.
"""

# lazy_loader has no types.
# pyright: basic

import os

import lazy_loader

# Threads that wait for one another turn in circles, by libgomp's own default for some milliseconds: where another
# program has the core, each such wait costs a whole time slice, and decoding is several times slower than with this;
# fewer turns are slower where nobody else is. It is read when torch is loaded; whoever has said how threads should wait
# is listened to.
if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
    os.environ["GOMP_SPINCOUNT"] = "3000"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
