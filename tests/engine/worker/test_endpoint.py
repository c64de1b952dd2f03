"""The socket belongs to one user and one environment, and its folder to nobody else."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io import runtime
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.worker import endpoint
from srm_explorer.engine.worker.endpoint import Endpoint


@pytest.fixture
def place() -> Endpoint:
    """The endpoint of this test, its folder made."""
    found = endpoint.here()
    runtime.make_folder(found.folder)
    return found


def test_folder_and_socket_are_closed_to_others_whatever_the_umask(place: Endpoint) -> None:
    before = os.umask(0)
    try:
        listener = endpoint.listen(place)
    finally:
        os.umask(before)
    with listener:
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.socket.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o770, 0o701])
def test_a_folder_that_others_may_enter_is_refused(place: Endpoint, mode: int) -> None:
    place.folder.chmod(mode)
    for use in (lambda: runtime.make_folder(place.folder), lambda: endpoint.connect(place)):
        with pytest.raises(ExplorerError, match="others may enter"):
            use()


def test_a_link_or_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = runtime.runtime_folder()
    folder.symlink_to(tmp_path)
    with pytest.raises(ExplorerError, match="no folder"):
        runtime.make_folder(folder)
    folder.unlink()
    folder.write_text("")
    with pytest.raises(ExplorerError, match="no folder"):
        runtime.make_folder(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(place: Endpoint) -> None:
    os.chown(place.folder, 65534, -1)
    with pytest.raises(ExplorerError, match="another user owns"):
        endpoint.connect(place)


def test_a_path_that_is_too_long_for_a_socket_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"{tempfile.gettempdir()}/{'long' * 30}")
    Path(tempfile.gettempdir()).mkdir()
    place = endpoint.here()
    runtime.make_folder(place.folder)
    for use in (endpoint.listen, endpoint.connect):
        with pytest.raises(ExplorerError, match=r"100 bytes.*TMPDIR"):
            use(place)


def test_nobody_listens_where_nothing_or_only_a_dead_socket_is(place: Endpoint) -> None:
    assert endpoint.connect(place) is None
    endpoint.listen(place).close()
    assert place.socket.exists()
    assert endpoint.connect(place) is None
    with endpoint.listen(place):
        connection = endpoint.connect(place)
        assert connection is not None
        connection.close()


def test_another_environment_has_another_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {endpoint.identity()}
    for name, value in [("CUDA_VISIBLE_DEVICES", "1"), ("HF_HOME", "/x"), ("HF_TOKEN", "a"), ("OMP_NUM_THREADS", "7")]:
        monkeypatch.setenv(name, value)
        seen.add(endpoint.identity())
    assert len(seen) == 5
    assert all(len(one) == 12 and int(one, 16) >= 0 for one in seen)
    monkeypatch.setenv("EDITOR", "vi")
    monkeypatch.setenv("CUDA_MODULE_LOADING", "LAZY")
    assert endpoint.identity() in seen


def test_workers_of_other_environments_are_listed_and_no_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_TOKEN", "secret")
    first = endpoint.here()
    runtime.make_folder(first.folder)
    assert endpoint.living() == []
    with FileLock(first.lock), FileLock(first.folder / "device-cpu.lock"):
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert endpoint.here() != first
        assert endpoint.living() == [first]
    assert endpoint.living() == []
    told = endpoint.environment()
    assert (told["OMP_NUM_THREADS"], told["HF_TOKEN"]) == ("2", "set")
