"""A model that is kept from one run to the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.io.lock import FileLock, JoinedLock
from srm_explorer.engine.model.device import refuse_autocast, release_memory, set_tf32
from srm_explorer.engine.model.hub import find_model
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import SelfTest, self_test

Notify = Callable[[Literal["loading", "testing"]], None]
ModelKey = tuple[ModelSpec, str, tuple[tuple[str, int, int], ...]]


class WarmModel:
    """Holds one model, loaded and tested, until another is asked for or its files change.

    Attributes:
        model: the model; None where none is loaded.
        model_lock: tells other processes that a model is on its devices; released as the model is unloaded.
    """

    def __init__(self) -> None:
        self.model: LoadedModel | None = None
        self.model_lock: FileLock | JoinedLock | None = None
        self._test: SelfTest | None = None
        self._key: ModelKey | None = None

    def load(self, spec: ModelSpec, base: Path, notify: Notify) -> LoadedModel:
        """Return the model an experiment names: the one at hand where it is the same, else loaded.

        Args:
            spec: as in the experiment.
            base: folder that a relative path starts from.
            notify: called where something is done that takes time.

        Raises:
            ExplorerError: as `load_model`.
        """
        refuse_autocast()
        key = model_key(spec, base)
        if self.model is None or key != self._key:
            self._drop()
            notify("loading")
            self.model, self._key = load_model(spec, base=base), key
        # It holds for the whole process, and another model may have been loaded since.
        set_tf32(spec.tf32)
        return self.model

    def model_of(self, key: ModelKey) -> LoadedModel | None:
        """Return the model at hand, from any thread, where it is the one of this key."""
        model, loaded = self.model, self._key
        return model if loaded == key else None

    def test(self, notify: Notify, tell: Callable[[int, int], object] = lambda done, of: None) -> SelfTest:
        """Return what the self-test found on the loaded model; `tell` and ExplorerError as `self_test`."""
        if self.model is None:
            raise ValueError("no model is loaded")
        if self._test is None:
            notify("testing")
            self._test = self_test(self.model, tell)
        return self._test

    def unload(self) -> None:
        """Give the memory back, and the model lock."""
        self._drop()
        if self.model_lock is not None:
            self.model_lock.release()
            self.model_lock = None

    def _drop(self) -> None:
        was_loaded = self.model is not None
        self.model = self._test = self._key = None
        if was_loaded:
            release_memory()


def model_key(spec: ModelSpec, base: Path) -> ModelKey:
    """Tell models apart, and versions of one: the spec, where it is found, and the files there; errors as loading."""
    known = find_model(spec.name, spec.revision, base)
    folder, source = known.folder, known.source
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder else []
    # A snapshot's folder is part of it: the same name may stand for another revision tomorrow.
    return spec, str(folder or source), tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)
