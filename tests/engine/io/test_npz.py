from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io import npz
from srm_explorer.engine.io.npz import Block, Skipped, read_npz, write_npz

KINDS = ("<f4", ">f4", "<f8", "<f2", "<i4", "|u1", "|b1")


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def gathered(path: Path) -> dict[str, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {}
    for part in read_npz(path):
        assert isinstance(part, Block)
        assert part.first == sum(map(len, parts.get(part.key, [])))
        parts.setdefault(part.key, []).append(part.rows)
    return {key: np.concatenate(rows) for key, rows in parts.items()}


@settings(max_examples=60, deadline=None)
@given(
    shape=st.one_of(st.tuples(st.integers(1, 9)), st.tuples(st.integers(1, 30), st.integers(1, 9))),
    kind=st.sampled_from(KINDS),
    fortran=st.booleans(),
    encode_band=st.booleans(),
    block=st.sampled_from([1, 40, 1 << 20]),
)
def test_reads_what_numpy_saved(
    shape: tuple[int, ...], kind: str, fortran: bool, encode_band: bool, block: int
) -> None:
    array = np.random.default_rng(7).normal(size=shape, scale=50).astype(np.dtype(kind))
    array = np.asfortranarray(array) if fortran else array
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz, "BLOCK_BYTES", block)
        path = Path(folder) / "v.npz"
        (np.savez_compressed if encode_band else np.savez)(path, a=array, **{"core_id=door_sweep=-3": array[:1]})
        found = gathered(path)
        np.save(Path(folder) / "single.npy", array)
        single = gathered(Path(folder) / "single.npy")
    np.testing.assert_array_equal(found["a"], np.atleast_2d(array))
    np.testing.assert_array_equal(found["core_id=door_sweep=-3"], np.atleast_2d(array[:1]))
    np.testing.assert_array_equal(single["single"], np.atleast_2d(array))


def test_numpy_reads_what_is_written_and_equal_vectors_give_equal_files(tmp_path: Path) -> None:
    arrays = {"prompt_0": np.arange(5, dtype=np.float32), "prompt_0_sweep=×2": np.full((2, 5), 0.5)}
    for name in ("one.npz", "two.npz"):
        write_npz(tmp_path / name, arrays.items())
    with np.load(tmp_path / "one.npz") as loaded:
        assert list(loaded) == list(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(loaded[key], array)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="'k'"):
        write_npz(path, [("k", np.zeros(3)), ("k", np.ones(3))])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_pickled_objects_are_refused_by_name_and_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    trapped = np.array([Trap(marker)], dtype=object)
    np.savez(tmp_path / "v.npz", fine=np.zeros(4), trap=trapped)
    np.save(tmp_path / "v.npy", trapped, allow_pickle=True)
    for name, member in (("v.npz", "'trap'"), ("v.npy", "'v'")):
        with pytest.raises(ExplorerError, match=f"{member} holds pickled"):
            list(read_npz(tmp_path / name))
    assert not marker.exists()


def test_what_is_no_vector_is_skipped_and_said(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez(path, text=np.array(["a"]), number=np.float64(3), cube=np.zeros((2, 2, 2)), none=np.zeros((0, 4)), v=[1.0])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "hello")
    parts = list(read_npz(path))
    assert {part.key for part in parts if isinstance(part, Skipped)} == {"text", "number", "cube", "none", "notes.txt"}
    assert [part.key for part in parts if isinstance(part, Block)] == ["v"]


def test_rows_of_a_table_are_named_by_index_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "BLOCK_BYTES", 16)
    np.savez(tmp_path / "v.npz", t=np.zeros((3, 4), np.float32))
    labels = [part.label(0) for part in read_npz(tmp_path / "v.npz") if isinstance(part, Block)]
    assert labels == ["t[0]", "t[1]", "t[2]"]


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_one_clear_line_or_reads_as_far_as_it_can(data: st.DataObject) -> None:
    file = io.BytesIO()
    encode_band = data.draw(st.booleans())
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if encode_band else zipfile.ZIP_STORED) as archive:
        archive.writestr("a.npy", npy_bytes(np.arange(6.0)))
        archive.writestr("b.npy", npy_bytes(np.ones((2, 3))))
    whole = data.draw(st.sampled_from([file.getvalue(), npy_bytes(np.arange(12.0).reshape(3, 4))]))
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.npz"
        path.write_bytes(content)
        told = "v.npz"
        try:
            for part in read_npz(path):
                assert isinstance(part, Skipped) or part.rows.ndim == 2
        except ExplorerError as error:
            told = str(error)
    assert "v.npz" in told
    assert "\n" not in told


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    for name, content in (("v.npz", None), ("v.npy", npy_bytes(np.ones((100, 20))))):
        path = tmp_path / name
        if content is None:
            np.savez(path, a=np.ones((100, 20)))
            content = path.read_bytes()
        path.write_bytes(content[:-cut])
        with pytest.raises(ExplorerError, match="damaged"):
            list(read_npz(path))


def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    header = npy_bytes(np.zeros((1, 4), "<f8"))
    (tmp_path / "v.npy").write_bytes(header.replace(b"(1, 4), }         ", b"(1, 4000000000000)}", 1))
    with pytest.raises(ExplorerError, match="damaged"):
        list(read_npz(tmp_path / "v.npy"))


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "empty"), (b"\x80\x04]\x94.", "neither"), (b"angle,mean\n", "neither")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "v.npz").write_bytes(content)
    with pytest.raises(ExplorerError, match=told):
        list(read_npz(tmp_path / "v.npz"))


def test_complex_numbers_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", z=np.ones(3, complex))
    for path, told in ((tmp_path / "c.npz", "complex"), (tmp_path / "no.npz", "no such file"), (tmp_path, "folder")):
        with pytest.raises(ExplorerError, match=told):
            list(read_npz(path))
