"""One file with a session in it: what comes out is what went in, bit for bit, or a line says why it is not taken."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.runs.pack import LEDGER, MANIFEST, SESSION, VECTORS, Packed, pack_session, unpack_session
from srm_explorer.engine.session import (
    ComputedTest,
    Ledger,
    PromptRecord,
    load_session,
    record_tests,
    save_session,
    sessions_in,
)
from srm_explorer.engine.session.session import pending_sidecar
from tests.engine.session.test_session_rename import VECTORS as ROWS
from tests.engine.session.test_session_rename import a_session, die_at, holds_its_vectors, in_a_child, names


def shelved(folder: Path, name: str = "storm", **fields: Any) -> Path:
    """A session with its vectors and a ledger of one test."""
    path = folder / f"{name}.json"
    session = save_session(a_session(**{"notes": "mine", **fields}), path, vectors=ROWS).session
    record_tests(session, [ComputedTest("difference", {"at": 1}, 0.5)], "all")
    return path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack_session(shelved(tmp_path / "from"), tmp_path / "storm.srm.zip").path


def beside(path: Path) -> dict[str, bytes]:
    stem = path.name.removesuffix(".json")
    return {end: path.with_name(f"{stem}{end}").read_bytes() for end in (".json", ".safetensors", ".ledger.jsonl")}


HOSTILE = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@settings(max_examples=40)
@given(
    name=st.one_of(
        st.text(max_size=12), st.sampled_from(["it's", "größe 日本", ".hidden", "a:b", "manifest.json", "x" * 190])
    ),
    notes=HOSTILE,
    text=HOSTILE,
    factors=st.dictionaries(HOSTILE, HOSTILE, max_size=3),
)
def test_what_is_unpacked_is_what_was_packed_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, name: str, notes: str, text: str, factors: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    try:
        path = paths.session_path(f"{folder}/from/{name.replace('/', '_')}")
    except ExplorerError:
        return
    prompt = PromptRecord("reasoning", text, factors, (5,), 0, "0" * 64)
    shelved(path.parent, path.name.removesuffix(".json"), notes=notes, prompts=(prompt,))
    first = pack_session(path, folder / "a.zip")
    done = unpack_session(first.path, folder / "to" / path.name)
    assert beside(done.path) == beside(path)
    assert done.session.changed(path=path) == load_session(path)
    assert names(done.path.parent) == names(path.parent)
    again = pack_session(done.path, folder / "b.zip")
    assert again.path.read_bytes() == first.path.read_bytes()
    with zipfile.ZipFile(first.path) as archive:
        assert not any(str(folder).encode() in archive.read(member) for member in archive.namelist())


def test_under_another_name_it_is_the_same_session(packed: Path, tmp_path: Path) -> None:
    done = unpack_session(packed, tmp_path / "to" / "calm.json")
    before = load_session(tmp_path / "from" / "storm.json")
    assert holds_its_vectors(done.session)
    assert done.session.name == "calm"
    assert done.session.sidecar is not None
    assert done.session.sidecar.file == "calm.safetensors"
    assert done.session.changed(name="storm", sidecar=before.sidecar) == before
    assert len(Ledger(done.session).entries()) == 1


def test_by_default_it_has_its_name_in_the_sessions_folder_and_replaces_none(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRM_EXPLORER_SESSIONS", str(tmp_path / "mine"))
    assert unpack_session(packed).path == tmp_path / "mine" / "storm.json"
    save_session(load_session("storm").changed(notes="others"), tmp_path / "mine" / "storm.json")
    (tmp_path / "mine" / "calm.safetensors").write_bytes(b"mine")
    for name, taken in (("storm", "storm.json"), ("calm", "calm.safetensors")):
        with pytest.raises(ExplorerError, match=f"taken by {taken}; give it another with --session NAME"):
            unpack_session(packed, tmp_path / "mine" / f"{name}.json")
    assert (tmp_path / "mine" / "calm.safetensors").read_bytes() == b"mine"
    assert unpack_session(str(packed), "by name").path == pack_session("by name", tmp_path / "b.zip").session.path
    with pytest.raises(ExplorerError, match="a folder has this name; name a file in it"):
        pack_session("by name", tmp_path)
    before = packed.read_bytes()
    with pytest.raises(ExplorerError, match="there is another file of this name; name another one, or remove it"):
        pack_session("storm", packed)
    assert packed.read_bytes() == before
    assert not [name for name in names(tmp_path) if name.startswith(".tmp")]


def test_the_same_command_once_more_finds_what_it_made(packed: Path, tmp_path: Path) -> None:
    """As after a kill once the file was there, or after a doubt."""
    source = tmp_path / "from" / "storm.json"
    before = packed.stat()
    again = pack_session(source, packed)
    assert (again.path, again.size) == (packed, before.st_size)
    assert packed.stat().st_mtime_ns == before.st_mtime_ns
    assert names(tmp_path) == {"from", packed.name}
    for name in ("storm", "calm"):
        first = unpack_session(packed, tmp_path / "to" / f"{name}.json")
        made = beside(first.path)
        # Killed between the session's file and its vectors' name: they have the one that they wait under.
        sidecar = first.session.sidecar
        assert sidecar is not None
        vectors = first.path.with_name(f"{name}.safetensors")
        vectors.rename(pending_sidecar(vectors, sidecar.sha256))
        assert unpack_session(packed, first.path) == first
        assert beside(first.path) == made
        vectors.write_bytes(b"others")
        with pytest.raises(ExplorerError, match=f"taken by {name}.json"):
            unpack_session(packed, first.path)


def rewritten(packed: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None], **forge: Any) -> Path:
    """The archive again with other members or another manifest."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop(MANIFEST))
    change(members, manifest)
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in {**members, MANIFEST: json.dumps(manifest).encode()}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        for name, fields in forge.get("entries", {}).items():
            for field, value in fields.items():
                setattr(archive.getinfo(name), field, value)
    return packed


def named(manifest: dict[str, Any], name: str, content: bytes) -> None:
    manifest["members"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def with_member(name: str) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    def change(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        members[name] = b"more"
        named(manifest, name, b"more")

    return change


def with_content(
    name: str, content: bytes, is_named: bool = True
) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    def change(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        members[name] = content
        if is_named:
            named(manifest, name, content)

    return change


def without(name: str) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    return lambda members, manifest: members.pop(name) and None


def saying(field: str, value: Any) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    return lambda members, manifest: manifest.update({field: value})


def same(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
    pass


LINK = {"external_attr": (stat.S_IFLNK | 0o777) << 16}


@pytest.mark.parametrize(
    ("change", "entries", "told"),
    [
        (with_member("../storm.json"), {}, "'../storm.json': a packed session has no such member"),
        (with_member("/etc/passwd"), {}, "'/etc/passwd': a packed session has no such member"),
        (with_member("sub/"), {}, "'sub/': a packed session has no such member"),
        (with_member("C:\\x"), {}, "a packed session has no such member"),
        (with_member("Session.json"), {}, "'Session.json': a packed session has no such member"),
        (same, {VECTORS: LINK}, "'vectors.safetensors': it is a link or a device, not a file"),
        (same, {LEDGER: {"filename": SESSION}}, "'session.json': the archive has two members of this name"),
        (same, {SESSION: {"flag_bits": 1}}, "'session.json': it is encrypted"),
        (same, {SESSION: {"compress_type": 93}}, "'session.json': it is encrypted, or compressed in a way"),
        (same, {VECTORS: {"compress_type": 8}}, "vectors are stored in a packed session, and these are compressed"),
        (same, {SESSION: {"file_size": 1 << 40}}, "larger than the 1,073,741,824 bytes"),
        (same, {VECTORS: {"file_size": 1 << 40}}, "it has 1,099,511,627,776 bytes, and by the manifest"),
        (without(VECTORS), {}, "'vectors.safetensors': the manifest names it, and it is not there"),
        (lambda _, manifest: manifest["members"].pop(LEDGER), {}, "'ledger.jsonl': the manifest does not name it"),
        (lambda _, manifest: manifest["members"].pop(SESSION), {}, "the manifest names no session"),
        (with_content(LEDGER, b"else\n", is_named=False), {}, "it has 5 bytes, and by the manifest"),
        (lambda m, _: m.update({VECTORS: m[VECTORS][::-1]}), {}, "it is not what was packed (its SHA-256 is another)"),
        (with_content(VECTORS, b"other"), {}, "these are not the vectors that the session was saved with"),
        (with_content(SESSION, b"{}"), {}, "session.json: this is no session file"),
        (with_content(SESSION, b"[1"), {}, "session.json, line 1, column 3: broken JSON"),
        (with_content(SESSION, b"\xff"), {}, "'session.json': it is not UTF-8"),
        (with_content(SESSION, b'{"schema_version": 99, "runs": []}'), {}, "written by a newer version (schema 99"),
        (saying("version", 2), {}, "packed by a newer version (format 2, this one reads 1); upgrade srm-explorer"),
        (saying("version", "1"), {}, "no manifest of a packed session: version is no whole number"),
        (saying("format", "zip"), {}, "no manifest of a packed session: format is none of srm-explorer session"),
        (saying("members", {SESSION: {"bytes": -1, "sha256": ""}}), {}, "bytes is less than 0"),
        (saying("name", "../../storm"), {}, "a name holds no '/'; give it another with --session NAME"),
        (saying("name", "a\x1b[2J"), {}, "control character; give it another with --session NAME"),
        (saying("name", ""), {}, "the session has no name; give it another with --session NAME"),
    ],
)
def test_what_is_not_as_it_was_packed_is_refused_in_a_line_and_nothing_appears(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, entries: Any, told: str
) -> None:
    monkeypatch.setenv("SRM_EXPLORER_SESSIONS", str(tmp_path / "to"))
    rewritten(packed, change, entries=entries)
    with pytest.raises(ExplorerError) as refused:
        unpack_session(packed)
    line = str(refused.value)
    assert told in line
    assert "\n" not in line
    assert "storm.srm.zip" in line or "--session" in line
    assert not (tmp_path / "to").exists() or names(tmp_path / "to") == set()


def test_a_file_that_is_cut_short_or_none_of_ours_is_refused(packed: Path, tmp_path: Path) -> None:
    content = packed.read_bytes()
    for size in [0, 1, 30, *range(100, len(content), 211), len(content) - 1]:
        packed.write_bytes(content[:size])
        with pytest.raises(ExplorerError, match=r"storm\.srm\.zip.*no packed session, or it was cut short"):
            unpack_session(packed, tmp_path / "to" / "s.json")
    packed.write_bytes(b"schema_version" * 99)
    with pytest.raises(ExplorerError, match="no packed session"):
        unpack_session(packed, tmp_path / "to" / "s.json")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(SESSION, b"{}")
    with pytest.raises(ExplorerError, match=f"it has no {MANIFEST}"):
        unpack_session(packed, tmp_path / "to" / "s.json")
    with pytest.raises(ExplorerError, match="there is no such file; check the path"):
        unpack_session(tmp_path / "none.zip")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ExplorerError, match="not a regular file"):
        unpack_session(tmp_path / "pipe")
    assert not (tmp_path / "to").exists()


@settings(max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, at: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    path = shelved(folder / "from")
    file = pack_session(path, folder / "storm.srm.zip").path
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 1 << bit
    file.write_bytes(content)
    try:
        done = unpack_session(file, folder / "to" / "storm.json")
    except ExplorerError:
        assert not (folder / "to").exists() or names(folder / "to") == set()
        return
    assert beside(done.path) == beside(path)


@pytest.mark.parametrize("act", ["pack", "unpack"])
def test_killed_at_any_instant_nothing_is_there_in_part(tmp_path: Path, act: str) -> None:
    ends: set[bool] = set()
    whole = pack_session(shelved(tmp_path / "from"), tmp_path / "whole.srm.zip").path
    for step in range(60):
        folder = tmp_path / str(step)
        folder.mkdir()

        def once(folder: Path = folder) -> Packed:
            if act == "pack":
                return pack_session(tmp_path / "from" / "storm.json", folder / "storm.srm.zip")
            return unpack_session(whole, folder / "storm.json")

        def kill(step: int = step, once: Callable[[], Packed] = once) -> None:
            die_at(step)
            once()

        status = in_a_child(kill)
        ends.add(status == 0)
        assert status in (0, -signal.SIGKILL)
        there = folder / "storm.srm.zip"
        if act == "pack":
            assert not there.exists() or there.read_bytes() == whole.read_bytes()
            if not there.exists():
                once()
        else:
            for session in sessions_in(folder):
                assert holds_its_vectors(load_session(session))
            if not sessions_in(folder):
                once()
            session = load_session(folder / "storm.json")
            assert holds_its_vectors(session)
            assert len(Ledger(session).entries()) == 1
            assert beside(folder / "storm.json") == beside(tmp_path / "from" / "storm.json")
        if status == 0:
            break
    assert ends == {True, False}
    assert holds_its_vectors(load_session(tmp_path / "from" / "storm.json"))


def test_a_run_that_is_written_is_packed_as_far_as_it_was_saved(tmp_path: Path) -> None:
    path = shelved(tmp_path, state="interrupted", runs=a_session().runs[:2])
    with FileLock(paths.run_folder(path) / "lock"):
        done = pack_session(path, tmp_path / "a.zip")
    assert done.notes == ("2 of 3 runs are finished and in it; the run that goes on is not in it",)
    assert unpack_session(done.path, tmp_path / "to" / "s.json").notes == ("2 of 3 runs are finished and in it",)
    path.unlink()
    with pytest.raises(
        ExplorerError, match="storm: its runs are not saved as a session yet; the same `srm-explorer run`"
    ):
        pack_session(path, tmp_path / "b.zip")
    with FileLock(paths.run_folder(path) / "lock"), pytest.raises(ExplorerError, match="wait for it, or stop it"):
        pack_session(path, tmp_path / "b.zip")


def test_vectors_that_are_gone_are_told_and_altered_ones_refused(tmp_path: Path) -> None:
    path = shelved(tmp_path / "from")
    vectors = path.with_suffix(".safetensors")
    kept = vectors.read_bytes()
    vectors.write_bytes(kept[:-1] + b"x")
    with pytest.raises(ExplorerError, match="the file was altered"):
        pack_session(path, tmp_path / "a.zip")
    vectors.unlink()
    done = pack_session(path, tmp_path / "a.zip")
    assert ["vectors are not where it says" in line for line in done.notes] == [True]
    out = unpack_session(done.path, tmp_path / "to" / "storm.json")
    assert out.notes == done.notes
    assert out.path.read_bytes() == path.read_bytes()
    assert names(tmp_path / "to") == {"storm.json", "storm.ledger.jsonl"}


def test_a_save_meanwhile_waits_for_nothing_and_changes_nothing_packed(tmp_path: Path) -> None:
    path = shelved(tmp_path / "from")
    before = beside(path)
    done = pack_session(load_session(path), tmp_path / "a.zip")
    save_session(load_session(path).changed(notes="later"), path)
    assert beside(unpack_session(done.path, tmp_path / "to" / "storm.json").path) == before
