"""The engine: everything but the screen. What a notebook needs has its names in `srm_explorer` itself."""

from srm_explorer.engine.errors import ExplorerError, SpecValueError

__all__ = ["ExplorerError", "SpecValueError"]
