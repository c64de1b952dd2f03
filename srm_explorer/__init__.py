"""srm-explorer for notebooks: every public name, loaded when it is first asked for.

from srm_explorer import read_experiment, run_experiment, session_path

experiment, source = read_experiment("quick", overrides=["model.name=gpt2"])
outcome = run_experiment(experiment, source.base, session_path("first"))
vectors = outcome.session.vectors()["blocks.11.mlp.hook_post"]

The names and their homes stand once, in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
