from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io import arrays
from srm_explorer.engine.io.arrays import Block, Reduce, Skipped, read_arrays, write_npz
from srm_explorer.engine.io.vectors import read_direction

KINDS = ("<f4", ">f4", "<f8", "<f2", "<i4", "|u1", "|b1")


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def gathered(path: Path, reduce: Reduce | None = None) -> dict[str, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {}
    for part in read_arrays(path, reduce=reduce):
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
        patch.setattr(arrays, "BLOCK_BYTES", block)
        path = Path(folder) / "v.npz"
        (np.savez_compressed if encode_band else np.savez)(path, a=array, **{"core_id=door_sweep=-3": array[:1]})  # pyright: ignore
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


def test_pickled_objects_are_never_loaded_and_the_rest_of_their_archive_is_read(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    trapped = np.array([Trap(marker)], dtype=object)
    np.savez(tmp_path / "v.npz", trap=trapped, fine=np.ones(4))
    np.save(tmp_path / "v.npy", trapped, allow_pickle=True)
    skipped, block = read_arrays(tmp_path / "v.npz")
    assert isinstance(skipped, Skipped)
    assert "pickled" in skipped.why
    assert isinstance(block, Block)
    np.testing.assert_array_equal(read_direction("v.npz#fine", tmp_path), [0.5] * 4)
    with pytest.raises(ExplorerError, match="'v' holds pickled"):
        list(read_arrays(tmp_path / "v.npy"))
    with pytest.raises(ExplorerError, match="'trap' is not a direction: holds pickled"):
        read_direction("v.npz#trap", tmp_path)
    assert not marker.exists()


def bfloat16(array: np.ndarray) -> np.ndarray:
    """The numbers as bfloat16 has them, cut off after 8 bits."""
    return (array.astype("<f4").view("<u4") & 0xFFFF0000).view("<f4")


def written_tensors(path: Path, tensors: dict[str, tuple[str, np.ndarray]]) -> Path:
    header, data = {}, b""
    for key, (kind, array) in tensors.items():
        raw = (array.view("<u4") >> 16).astype("<u2") if kind == "BF16" else array
        header[key] = {"dtype": kind, "shape": array.shape, "data_offsets": [len(data), len(data) + raw.nbytes]}
        data += raw.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@settings(max_examples=30, deadline=None)
@given(
    shape=st.sampled_from([(7,), (5, 3), (4, 6, 3)]),
    kind=st.sampled_from(["F32", "F64", "F16", "BF16", "I8"]),
    block=st.sampled_from([1, 40, 1 << 20]),
    reduce=st.sampled_from(["mean", "last"]),
)
def test_every_format_gives_the_same_vectors(shape: tuple[int, ...], kind: str, block: int, reduce: Reduce) -> None:
    dtype = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": "<f4", "I8": "|i1"}[kind]
    array = np.random.default_rng(3).normal(size=shape, scale=20).astype(dtype)
    array = bfloat16(array) if kind == "BF16" else array
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "BLOCK_BYTES", block)
        at = Path(folder)
        files = [written_tensors(at / "v.safetensors", {"v": (kind, array)}), at / "v.npz", at / "w.npz", at / "v.npy"]
        np.savez(files[1], v=array)
        np.savez_compressed(files[2], v=np.asfortranarray(array))
        np.save(files[3], array)
        read = [gathered(file, reduce)["v"] for file in files]
    expected = np.atleast_2d(array)
    if len(shape) == 3:
        expected = array.mean(axis=1, dtype=np.float64) if reduce == "mean" else array[:, -1]
    for rows in read:
        np.testing.assert_allclose(rows, expected, rtol=1e-12, atol=1e-12)


def test_rows_and_columns_of_a_matrix_are_directions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 64)
    matrix = np.random.default_rng(0).normal(size=(9, 4)).astype("<f4")
    tensors = {"W_dec": ("BF16", bfloat16(matrix)), "W_dec[3]": ("F32", np.ones(4, "<f4"))}
    written_tensors(tmp_path / "v.safetensors", tensors)
    np.savez(tmp_path / "v.npz", W_dec=bfloat16(matrix))
    for file in ("v.safetensors", "v.npz"):
        for name, line in (("W_dec[8]", matrix[8]), ("W_dec[:,2]", matrix[:, 2]), ("W_dec[0, :]", matrix[0])):
            direction = read_direction(f"{file}#{name}", tmp_path)
            expected = bfloat16(line).astype(np.float64)
            np.testing.assert_allclose(direction, expected / np.linalg.norm(expected), rtol=1e-12)
        with pytest.raises(ExplorerError, match=r"row 9 is out of range for 'W_dec' \[9, 4\]; choose 0 to 8"):
            read_direction(f"{file}#W_dec[9]", tmp_path)
        with pytest.raises(ExplorerError, match=r"column 4 is out of range .*; choose 0 to 3"):
            read_direction(f"{file}#W_dec[:,4]", tmp_path)
        with pytest.raises(ExplorerError, match=r"is not a direction but a matrix \[9, 4\]; name a row, W_dec\[0\] to"):
            read_direction(f"{file}#W_dec", tmp_path)
    np.save(tmp_path / "layers.npy", np.ones((2, 4)))
    with pytest.raises(ExplorerError, match="holds no vector '1'; choose one of layers"):
        read_direction("layers.npy#1", tmp_path)
    # An array of that very name comes first.
    np.testing.assert_array_equal(read_direction("v.safetensors#W_dec[3]", tmp_path), [0.5] * 4)


@pytest.mark.parametrize("name", ["v.pt", "v.bin", "v.npz"])
def test_a_pickle_of_pytorch_is_refused_with_the_lines_that_convert_it(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n")
    with pytest.raises(ExplorerError, match="never loaded") as caught:
        list(read_arrays(tmp_path / name))
    code = caught.value.remedy.partition(": ")[2]
    compile(code, "remedy", "exec")
    (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ExplorerError, match="never loaded"):
        list(read_arrays(tmp_path / name))


@pytest.mark.parametrize(("begins", "said"), [(b"\x89HDF\r\n\x1a\n", "HDF5"), (b"GGUF\x03\0\0\0", "control vectors")])
def test_formats_that_are_not_read_are_called_so_with_the_lines_that_convert_them(
    tmp_path: Path, begins: bytes, said: str
) -> None:
    (tmp_path / "v 1.bin5").write_bytes(begins + bytes(60))
    with pytest.raises(ExplorerError, match=said) as caught:
        list(read_arrays(tmp_path / "v 1.bin5"))
    code = caught.value.remedy.partition(": ")[2]
    compile(code, "remedy", "exec")
    assert "'v 1.bin5'" in code
    assert "'v 1.npz'" in code


def test_the_lines_that_convert_a_pickle_take_the_vectors_of_whatever_dictionary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # the others of this file do without

    monkeypatch.chdir(tmp_path)
    torch.save({"layer": 3, 15: torch.ones(2), "seen": torch.arange(6.0).reshape(2, 3).T}, "v.pt")
    with pytest.raises(ExplorerError) as caught:
        list(read_arrays(Path("v.pt")))
    exec(caught.value.remedy.partition(": ")[2], {})
    held = {part.key: part.rows for part in read_arrays(Path("v.safetensors")) if not isinstance(part, arrays.Skipped)}
    assert {key: rows.tolist() for key, rows in held.items()} == {"15": [[1, 1]], "seen": [[0, 3], [1, 4], [2, 5]]}


def test_what_would_take_more_memory_than_there_may_be_is_refused_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "LARGEST_WHOLE", 1000)
    for name, array, told in (
        ("v.npz", np.asfortranarray(np.zeros((40, 5))), "'v' is stored by columns .*ascontiguousarray"),
        ("w.npz", np.zeros(400), "'v' is one row"),
    ):
        np.savez_compressed(tmp_path / name, v=array)
        with pytest.raises(ExplorerError, match=told):
            list(read_arrays(tmp_path / name))


def test_what_is_no_vector_is_skipped_and_said(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez(path, text=np.array(["a"]), number=np.float64(3), cube=np.zeros((2, 2, 2)), none=np.zeros((0, 4)), v=[1.0])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "hello")
    parts = list(read_arrays(path))
    assert {part.key for part in parts if isinstance(part, Skipped)} == {"text", "number", "cube", "none", "notes.txt"}
    assert [part.key for part in parts if isinstance(part, Block)] == ["v"]


def test_rows_of_a_table_are_named_by_index_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 16)
    np.savez(tmp_path / "v.npz", t=np.zeros((3, 4), np.float32))
    labels = [part.label(0) for part in read_arrays(tmp_path / "v.npz") if isinstance(part, Block)]
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
            for part in read_arrays(path):
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
            list(read_arrays(path))


def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    header = npy_bytes(np.zeros((1, 4), "<f8"))
    (tmp_path / "v.npy").write_bytes(header.replace(b"(1, 4), }         ", b"(1, 4000000000000)}", 1))
    with pytest.raises(ExplorerError, match=r"takes 32,000\.0 GB at once"):
        list(read_arrays(tmp_path / "v.npy"))


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "empty"), (b"\x80\x04]\x94.", "pickle"), (b"angle,mean\n", "no .npz, .npy or")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "v.npz").write_bytes(content)
    with pytest.raises(ExplorerError, match=told):
        list(read_arrays(tmp_path / "v.npz"))


def test_complex_numbers_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.ones(3, complex))
    for path, told in ((tmp_path / "c.npy", "complex"), (tmp_path / "no.npz", "no such file"), (tmp_path, "folder")):
        with pytest.raises(ExplorerError, match=told):
            list(read_arrays(path))


def test_a_damaged_header_of_tensors_is_one_clear_line(tmp_path: Path) -> None:
    whole = written_tensors(tmp_path / "v.safetensors", {"a": ("F32", np.ones((3, 4), "<f4"))}).read_bytes()
    for content in (whole[:-1], whole[:30], whole.replace(b"F32", b"F64"), whole.replace(b"[3, 4]", b"[-3,4]")):
        (tmp_path / "v.safetensors").write_bytes(content)
        with pytest.raises(ExplorerError, match="damaged") as caught:
            list(read_arrays(tmp_path / "v.safetensors"))
        assert "\n" not in str(caught.value)
    (tmp_path / "v.safetensors").write_bytes(whole.replace(b"F32", b"F4X"))
    (skipped,) = read_arrays(tmp_path / "v.safetensors")
    assert isinstance(skipped, Skipped)
    assert "F4X" in skipped.why
