"""srm-explorer for notebooks: every public name, loaded when it is first asked for.

    import srm_explorer as srm

    session = srm.run("demo", session="first", generation={"tokens": 20})    # as `srm-explorer run` does
    session                                                                  # a table and a chart
    srm.figure(session, "dose")
    session.frame("runs")
    srm.study("effects", session, rule="published")                          # as the commands of that name
    vectors = srm.load_session("first").vectors()

The names and their homes stand once, in `__init__.pyi`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name.startswith("__") and name != "__all__":
        raise AttributeError(name)
    # Only a notebook asks: the screen and the command line start without it.
    import lazy_loader

    attribute, _, names = lazy_loader.attach_stub(__name__, __file__)
    return names if name == "__all__" else attribute(name)


def _version() -> str:
    from importlib import metadata  # who only runs the program does not wait for it

    try:
        return metadata.version("srm-explorer")
    except metadata.PackageNotFoundError:
        return "not installed"


def __dir__() -> list[str]:
    return __getattr__("__all__")
