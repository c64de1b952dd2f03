"""The engine: everything but the screen. What a notebook needs has its names in `srm_explorer` itself."""
