"""The files of a model, in a folder, in the cache or fetched from the hub; and why some cannot be used."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock, disable_progress_bars
from huggingface_hub.utils import logging as hub_logging
from transformer_lens.supported_models import MODEL_ALIASES, OFFICIAL_MODEL_NAMES

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, nearest
from srm_explorer.engine.experiment import UNKNOWN
from srm_explorer.engine.io.files import WRITE_REMEDIES, as_explorer_error, open_regular

DEMO = "demo"
ANSWER_SECONDS = 8.0
"""How long the hub may take for an answer, each time it is asked for something."""

_LIBRARY: Any = huggingface_hub
_NO_ANSWER = (_LIBRARY.errors.HTTPError, XetDownloadError, OSError, ValueError)
"""What the library raises where there is no hub at the other end."""

_PART = ".incomplete"
"""Ends the name of what has come of a file."""

_CONFIG, _WEIGHTS, _INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_TOKENIZER = (
    "tokenizer",
    "vocab",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "encoder.json",
    "tekken",
)
_BESIDE = (_CONFIG, "generation_config.json")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_OF_TRAINING = ("training_args.bin", "optimizer", "scheduler", "rng_state")

_MOVED = {
    **{name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "openai-gpt")},
    "distilgpt2": "distilbert/distilgpt2",
}
"""What the hub calls models now that were there before there were owners; both names lead to one model."""


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's files are.

    Attributes:
        source: a folder, or the name on the hub.
        folder: where they lie; None for a name that is not on this machine.
        commit: of a name, the revision that its files are of; None for a folder.
    """

    source: str
    folder: Path | None
    commit: str | None = None

    @property
    def architecture(self) -> str:
        """What config.json calls the model: "GPT2LMHeadModel"; its type where it has no such name."""
        return _architecture(_read_config(self.folder) if self.folder else {})

    @property
    def packing(self) -> str:
        """How its weights are quantised, where they are read all the same; else empty."""
        packed: Any = (_read_config(self.folder) if self.folder else {}).get("quantization_config")
        return str(cast("Mapping[str, Any]", packed).get("quant_method")) if isinstance(packed, Mapping) else ""

    def weight_count(self) -> int | None:
        """Count the numbers that its weights are, unpacked, as its files say; None where they do not all say it."""
        if self.folder is None:
            return None
        count = 0
        try:
            for shard in _shards(self.folder, _names_in(self.folder)):
                with open_regular(self.folder / shard) as file:
                    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
                for name, entry in header.items():
                    if name != "__metadata__":
                        # Two numbers of four bits lie in a byte.
                        count += math.prod(entry["shape"]) * (2 if self.packing and entry["dtype"] == "U8" else 1)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, MemoryError, OverflowError):
            return None
        return count


def find_model(name: str, revision: str | None = None, base: Path | None = None) -> ModelFiles:
    """Find what a name stands for, without the network: the bundled model, a folder, or what the cache has of it.

    Names of TransformerLens ("gpt2-small", "pythia-70m") and those that moved on the hub lead to the same model.

    Args:
        name: as the experiment has it.
        revision: branch, tag or commit of a name on the hub.
        base: folder that a relative path starts from; the working folder comes next.

    Raises:
        ExplorerError: it reads as a folder and there is none, the folder cannot be used, or has no revisions; no model
            can have this name.
    """
    if name == UNKNOWN:
        what = "what this experiment was done with is unknown, as its vectors or texts came from elsewhere"
        raise ExplorerError(what, where="model.name", remedy="name the model, or choose another experiment")
    folder = paths.demo_model_folder() if name == DEMO else _local_folder(name, base)
    if folder is not None:
        if revision is not None:
            raise ExplorerError("a folder has no revisions", where="model.revision", remedy="leave it out")
        _check_files(_names_in(folder), str(folder))
        _check_config(_read_config(folder), str(folder), name)
        return ModelFiles(str(folder), folder)
    try:
        snapshots = {source: _snapshot(source, revision) for source in _names_of(name)}
    except HFValidationError:
        what = "no model can have this name, and no folder here has it"
        raise ExplorerError(what, where=f"model.name {name[:100]!r}", remedy="check its spelling") from None
    there = {source: folder for source, folder in snapshots.items() if folder is not None}
    best = next((source for source, folder in there.items() if not _lacking(folder)), next(iter(there), None))
    if best is None:
        return ModelFiles(_on_hub(name), None)
    return ModelFiles(best, there[best], there[best].name)


def fetch_model(
    name: str, revision: str | None = None, base: Path | None = None, *, only_tokenizer: bool = False
) -> ModelFiles:
    """Find a model as `find_model`, and fetch from the hub what is not here; what is here whole is used as it is.

    Args:
        name, revision, base: as `find_model` takes them.
        only_tokenizer: whether weights are not needed.

    Raises:
        ExplorerError: as `find_model`; it cannot be fetched, or what is there cannot be used.
    """
    known = find_model(name, revision, base)
    if known.commit is None and known.folder is not None:
        _check_shards(known.folder, str(known.folder))
        return known
    if known.folder is None or _lacking(known.folder, only_tokenizer):
        known = _fetch(name, known, revision, only_tokenizer)
    assert known.folder is not None
    where = _at(name, known.commit)
    if not only_tokenizer:
        _check_files(_names_in(known.folder), where)
        _check_config(_read_config(known.folder), where, name)
        _check_shards(known.folder, where)
    return known


def cached_names() -> list[str]:
    """Names of the models that the cache has something of."""
    folders = Path(constants.HF_HUB_CACHE).glob("models--*")
    return sorted(folder.name.removeprefix("models--").replace("--", "/") for folder in folders)


def _local_folder(name: str, base: Path | None) -> Path | None:
    written = paths.expanded(name)
    for folder in dict.fromkeys([(base or paths.working_folder()) / written, paths.working_folder() / written]):
        if paths.is_folder(folder):
            return folder
    if written.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ExplorerError("there is no such folder", where=f"model.name {name}", remedy="check the path")
    return None


def _names_of(name: str) -> list[str]:
    """A name, and others that the same model may be cached under."""
    before = {now: then for then, now in _MOVED.items()}
    now = _on_hub(name)
    return list(dict.fromkeys([name, now, before.get(now, now)]))


def _on_hub(name: str) -> str:
    """What the hub calls a model."""
    official = _aliases().get(name.lower(), name)
    return _MOVED.get(official, official)


def _aliases() -> dict[str, str]:
    """Names of TransformerLens in lower case, and the name on the hub of each."""
    named = ((alias, official) for official, aliases in MODEL_ALIASES.items() for alias in aliases)
    return {alias.lower(): official for alias, official in named}


def _snapshot(source: str, revision: str | None) -> Path | None:
    """The folder in the cache with a model's files of a revision."""
    home = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source, repo_type="model")
    try:
        commit = (home / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = revision or ""
    folders = [folder for folder in (home / "snapshots").glob("*") if commit and folder.name.startswith(commit)]
    whole = [folder for folder in folders if folder.name == commit]
    # The first digits of a commit are enough, as everywhere.
    return (whole or folders)[0] if whole or (len(folders) == 1 and len(commit) >= 7) else None


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def _lacking(folder: Path, only_tokenizer: bool = False) -> list[str]:
    """Name what a snapshot does not hold of what the model needs."""
    names = _names_in(folder)
    lacking = [] if any(_is_tokenizer(name) for name in names) else ["its tokenizer"]
    if _CONFIG not in names:
        lacking.append(_CONFIG)
    if only_tokenizer:
        return lacking
    return lacking + [shard for shard in _shards(folder, names) if shard not in names]


def _is_tokenizer(name: str) -> bool:
    return name.startswith(_TOKENIZER) or name.endswith((".model", ".tiktoken"))


def _shards(folder: Path, names: Collection[str]) -> list[str]:
    """The files that hold the weights, as a folder that may not have all of them says."""
    if _WEIGHTS in names or _INDEX not in names:
        return [_WEIGHTS]
    return sorted(set(_read_json(folder / _INDEX).get("weight_map", {}).values())) or [_WEIGHTS]


def _check_shards(folder: Path, where: str) -> None:
    names = _names_in(folder)
    missing = [shard for shard in _shards(folder, names) if shard not in names]
    if missing == [_WEIGHTS]:
        there = f"{_INDEX} names no others" if _INDEX in names else f"{min(filter(_is_weights, names))} is not read"
        raise ExplorerError(
            f"its weights are neither in {_WEIGHTS} nor in parts that an index names ({there})",
            where=where,
            remedy="save the model again (model.save_pretrained), or copy its index too",
        )
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ExplorerError(
            f"{missing[0]}{more} is missing, a part of the weights", where=where, remedy="copy or save the model again"
        )


def _check_files(names: Collection[str], where: str) -> None:
    """Refuse, by the names of its files, what is no model, or holds what would not be read."""
    unfit = _unfit(names)
    if unfit is None and _CONFIG not in names:
        unfit = "it holds no model (no config.json)", "check the path"
    if unfit is None and not any(_is_weights(name) for name in names):
        unfit = "it holds no weights", "save it as .safetensors (model.save_pretrained does)"
    if unfit is not None:
        raise ExplorerError(unfit[0], where=where, remedy=unfit[1])


def _unfit(names: Collection[str]) -> tuple[str, str] | None:
    """Say what files are that can never be run here, and the remedy: adapters, pickles, GGUF."""
    has_weights = any(_is_weights(name) for name in names)
    adapter = next((name for name in _ADAPTERS if name in names), "")
    if adapter:
        merge = (
            "merge it first: PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(FOLDER),"
            " with peft, and save the tokenizer there too"
        )
        if _CONFIG not in names or not has_weights:
            return "it is a PEFT adapter, which changes a model and is none itself", merge
        what = f"a PEFT adapter ({adapter}) lies beside the model, and would be ignored"
        return what, f"{merge}; to run the model without it, take the adapter's files out"
    if has_weights:
        return None
    pickled = sorted(name for name in names if name.endswith(_PICKLED) and not name.startswith(_OF_TRAINING))
    if pickled:
        remedy = "save it as .safetensors where you trust it (model.save_pretrained does)"
        return f"its weights are pickled ({pickled[0]}), and nothing is unpickled here", remedy
    if any(name.endswith(".gguf") for name in names):
        return "its weights are GGUF, made for llama.cpp", "use the model they were made from, with .safetensors"
    return None


def _is_weights(name: str) -> bool:
    return name.endswith((".safetensors", _INDEX)) and name not in _ADAPTERS


_READABLE = ("mxfp4",)
"""Methods whose weights are turned back into plain numbers as they are loaded, on any machine."""


def _check_config(config: Mapping[str, Any], where: str, name: str) -> None:
    """Refuse quantised weights, as neurons, cards, forecasts and hashes are read from plain matrices; and encoders."""
    nested = config.get("text_config")
    parts = [config, cast("Mapping[str, Any]", nested)] if isinstance(nested, Mapping) else [config]
    for part in parts:
        packed: Any = part.get("quantization_config") or part.get("compression_config")
        if isinstance(packed, Mapping):
            _check_packing(cast("Mapping[str, Any]", packed), where, name)
    if config.get("is_encoder_decoder"):
        what = f"{_architecture(config)} is no causal language model: an encoder reads the text, and its decoder writes"
        raise ExplorerError(what, where=where, remedy="choose a decoder-only model")


def _architecture(config: Mapping[str, Any]) -> str:
    """What config.json calls a model, or its type."""
    names: Any = config.get("architectures") or [config.get("model_type", "the model")]
    return str(names[0] if isinstance(names, list) else names)  # pyright: ignore[reportUnknownArgumentType]


def _check_packing(packed: Mapping[str, Any], where: str, name: str) -> None:
    bits = 4 if packed.get("load_in_4bit") else 8 if packed.get("load_in_8bit") else packed.get("bits")
    method = str(packed.get("quant_method") or ("bitsandbytes" if "load_in_4bit" in packed else "unknown method"))
    if method in _READABLE:
        return
    original = "use the model it was made from, in float32, bfloat16 or float16"
    unpacked = f"AutoModelForCausalLM.from_pretrained({name!r}).dequantize().save_pretrained(FOLDER)"
    known = {"gptq": "GPTQ", "awq": "AWQ"}.get(method, method)
    raise ExplorerError(
        f"its weights are quantised ({known}{f', {bits} bits' if isinstance(bits, int) else ''}): packed codes, and"
        " neurons are read from plain matrices",
        where=where,
        remedy=f"{original}, or unpack it where bitsandbytes runs: {unpacked}"
        if method == "bitsandbytes"
        else original,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    return _read_json(folder / _CONFIG)


def _read_json(path: Path) -> dict[str, Any]:
    """A table of a file; empty where there is none that can be read, which loading says better."""
    try:
        with open_regular(path) as file:
            data: object = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _fetch(name: str, known: ModelFiles, revision: str | None, only_tokenizer: bool) -> ModelFiles:
    """Fetch the files that are not in the cache yet; those that are there whole stay."""
    source = known.source
    if constants.HF_HUB_OFFLINE:
        raise _cannot_fetch(name, known, revision, "the hub is not asked (HF_HUB_OFFLINE is set)", only_tokenizer)
    hub_logging.set_verbosity_error()
    disable_progress_bars()
    try:
        # Asked once and without repeats: a hub that is not there should be said at once.
        info = HfApi().model_info(source, revision=revision, timeout=ANSWER_SECONDS)
        names = {entry.rfilename for entry in info.siblings or ()}
        where = _at(name, info.sha or revision)
        if not only_tokenizer:
            _check_files({file for file in names if "/" not in file}, where)
        _remember(source, revision, info.sha)
        folder = Path()
        for file in _in_order(source, info.sha, names, where, name, only_tokenizer):
            folder = Path(_download(source, file, info.sha)).parent
    except GatedRepoError as error:
        raise ExplorerError(
            f"{source} is gated",
            where="model.name",
            remedy=f"accept its terms at {constants.ENDPOINT}/{source} and log in with `hf auth login`",
        ) from error
    except RevisionNotFoundError as error:
        raise ExplorerError(
            f"{source} has no revision {revision!r}", where="model.revision", remedy="name a branch, tag or commit"
        ) from error
    except RepositoryNotFoundError as error:
        reason = f"the hub has no model {source!r} (or it is private: `hf auth login`)"
        raise _cannot_fetch(name, known, revision, reason, only_tokenizer) from error
    except HFValidationError as error:
        raise _cannot_fetch(name, known, revision, "no model can have this name", only_tokenizer) from error
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", "an error")
        reason = f"the hub has no model {source!r}" if status == 404 else f"the hub answers {status}"
        raise _cannot_fetch(name, known, revision, reason, only_tokenizer) from error
    except _NO_ANSWER as error:
        if isinstance(error, OSError) and error.errno in WRITE_REMEDIES:
            raise as_explorer_error(error, Path(constants.HF_HUB_CACHE)) from error
        what = str(error).strip().partition("\n")[0][:120] or type(error).__name__
        reason = f"{constants.ENDPOINT} cannot be reached ({what})"
        raise _cannot_fetch(name, known, revision, reason, only_tokenizer) from error
    return ModelFiles(source, folder, folder.name)


def _in_order(
    source: str, commit: str | None, names: Collection[str], where: str, name: str, only_tokenizer: bool
) -> Iterator[str]:
    """What is to be fetched: small files first, so that what cannot be used is refused before its weights come."""
    flat = [file for file in sorted(names) if "/" not in file]
    yield from (file for file in flat if file in _BESIDE)
    yield from (file for file in flat if _is_tokenizer(file) or file.startswith("chat_template"))
    if only_tokenizer:
        return
    _check_config(_read_json(Path(_download(source, _CONFIG, commit))), where, name)
    if _WEIGHTS in names:
        yield _WEIGHTS
    elif _INDEX in names:
        index = Path(_download(source, _INDEX, commit))
        yield _INDEX
        yield from _shards(index.parent, [_INDEX])


def _download(source: str, file: str, commit: str | None) -> str:
    if file.endswith(".safetensors"):
        _fetch_content(source, file, commit)
    return _LIBRARY.hf_hub_download(source, file, revision=commit, etag_timeout=ANSWER_SECONDS)


def _fetch_content(source: str, file: str, commit: str | None) -> None:
    """Put what a file holds where the library looks for it, going on from where an earlier try broke off.

    The library's own download throws away the part that came when it breaks off. Here it is kept beside the content
    that it is to be, under its ETag, which names the content: a part is never continued with another version of the
    file. A file whose size the hub does not say, or that it does not give in one piece, is left to the library.

    Raises:
        ExplorerError: the two parts are not the file that the hub has.
    """
    if isinstance(try_to_load_from_cache(source, file, cache_dir=constants.HF_HUB_CACHE, revision=commit), str):
        return
    url = hf_hub_url(source, file, revision=commit)
    about = _LIBRARY.get_hf_file_metadata(url, timeout=ANSWER_SECONDS)
    etag, size = about.etag or "", about.size or 0
    if not re.fullmatch(r"[0-9a-zA-Z]{8,128}", etag) or not 0 < size <= constants.MAX_HTTP_DOWNLOAD_SIZE:
        return
    headers = _LIBRARY.utils.build_hf_headers()
    if urlsplit(str(about.location)).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # It is for the hub alone; where the content lies, the address is signed.
    cache, home = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=source, repo_type="model")
    content = cache / home / "blobs" / etag
    lock = cache / ".locks" / home / f"{etag}.lock"
    for folder in (content.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if content.exists():
            return
        part = content.with_name(f"{etag}{_PART}")
        with part.open("ab") as out:
            came = out.tell()
            if came > size:
                came = out.truncate(0)
            _LIBRARY.file_download.http_get(about.location, out, resume_size=came, headers=headers, expected_size=size)
        if came and not _is_content(part, etag):
            part.unlink()
            what = f"{file} was fetched in two parts, and they are not the file that the hub has"
            raise ExplorerError(what, where=_at(source, commit), remedy="try again: it is fetched anew")
        part.replace(content)


def _is_content(path: Path, etag: str) -> bool:
    """Whether a file is what its ETag says: the SHA-256 of a large file; others say nothing of what they hold."""
    if not re.fullmatch(r"[0-9a-f]{64}", etag):
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == etag


def _part_bytes(source: str) -> int:
    """How much of a model's files is kept of downloads that broke off."""
    blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source, repo_type="model") / "blobs"
    # With a second dot in its name it is the library's, which does not go on with it.
    return sum(part.stat().st_size for part in blobs.glob(f"*{_PART}") if part.name.count(".") == 1)


def _remember(source: str, revision: str | None, commit: str | None) -> None:
    """Note in the cache which commit a branch or tag is, so that what is fetched is found without the network."""
    if commit is None or revision == commit:
        return
    home = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source, repo_type="model")
    reference = home / "refs" / (revision or "main")
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit, encoding="utf-8")


def _cannot_fetch(
    name: str, known: ModelFiles, revision: str | None, reason: str, only_tokenizer: bool
) -> ExplorerError:
    """Say what is here, why the rest is not, and what to do: the name that was meant, or how to get it."""
    if known.folder is not None:
        where = _at(known.source, known.commit)
        unfit = _unfit(_names_in(known.folder))
        if unfit is not None:
            return ExplorerError(unfit[0], where=where, remedy=unfit[1])
        lacking = _lacking(known.folder, only_tokenizer)
        what = f"the cache has {where} without {lacking[0]}, and {reason}"
    else:
        what = f"the model {_at(name, revision)} is not on this machine and cannot be fetched: {reason}"
    if part := _part_bytes(known.source):
        what += f"; {part / 1e6:,.2f} MB that came of a file are kept, and the next try goes on from there"
    others = _other_revisions(name) if known.folder is None else []
    near = nearest(name, {*cached_names(), *_aliases(), *OFFICIAL_MODEL_NAMES} - {name})
    hint = f"did you mean {near!r}? " if near and known.folder is None and len(_names_of(name)) == 1 else ""
    if others:
        hint = f"set model.revision to the one that is cached, {others[0]}; or "
    return ExplorerError(
        what,
        where="model.name",
        remedy=f"{hint}cache it while online (`hf download {known.source}`), point model.name at a local folder,"
        " or use the demo",
    )


def _other_revisions(name: str) -> list[str]:
    """Commits of a model that are in the cache, whole."""
    homes = (Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=s, repo_type="model") for s in _names_of(name))
    snapshots = (folder for home in homes for folder in sorted((home / "snapshots").glob("*")) if folder.is_dir())
    return [folder.name for folder in snapshots if not _lacking(folder)]


def _at(name: str, revision: str | None) -> str:
    return f"{name} at revision {revision[:12]}" if revision else name
