"""A model by its name: from the cache without the network, and from a hub, which here is a server of this machine."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import GptOssConfig, GptOssForCausalLM

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model import hub
from srm_explorer.engine.model.hub import fetch_model, find_model
from srm_explorer.engine.model.load import load_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "somebody/tiny"


Serve = Callable[..., type["Hub"]]


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as is asked for: what a model has, and its files."""

    files: dict[str, bytes]
    asked: list[str]
    ranges: list[str]
    breaks_after: int | None = None
    """Bytes of a file of weights after which the connection ends; from then on the hub answers 503."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith(f"/api/models/{NAME}"):
            listed = [{"rfilename": name} for name in self.files]
            body = json.dumps({"id": NAME, "modelId": NAME, "sha": COMMIT, "siblings": listed}).encode()
        else:
            body = self.files.get(path.removeprefix(f"/{NAME}/resolve/{COMMIT}/"), b"")
        is_weights = path.endswith(".safetensors")
        if is_weights and with_body:
            self.ranges.append(self.headers.get("Range", ""))
            if self.breaks_after is not None and len(self.ranges) > 1:
                self.send_error(503)
                return
        status, etag = 200 if body else 404, sha256(body) if is_weights else sha1(body)
        if body and (asked := self.headers.get("Range")):
            status, body = 206, body[int(asked.removeprefix("bytes=").rstrip("-")) :]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{etag.hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if not body:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if with_body:
            self.wfile.write(body[: self.breaks_after] if is_weights else body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a network that may be asked: nobody listens there."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        point_to(monkeypatch, closed.getsockname()[1])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


def point_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """What HF_ENDPOINT does before the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"http://127.0.0.1:{port}{template}")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a hub with files; its lists grow by what it is asked for."""
    with contextlib.ExitStack() as stack:

        def start(files: dict[str, bytes], breaks_after: int | None = None) -> type[Hub]:
            here = {"files": files, "asked": list[str](), "ranges": list[str](), "breaks_after": breaks_after}
            handler = type("Here", (Hub,), here)
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            point_to(monkeypatch, server.server_address[1])
            return handler

        yield start


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        point_to(monkeypatch, server.getsockname()[1])
        monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.5)
        yield


@pytest.fixture
def shards(tiny_gpt2_folder: Path) -> dict[str, bytes]:
    """The files of a small model, its weights in two parts."""
    files = {path.name: path.read_bytes() for path in tiny_gpt2_folder.iterdir() if path.suffix != ".safetensors"}
    weights = load_file(tiny_gpt2_folder / "model.safetensors")
    names = sorted(weights)
    where = {name: f"model-0000{1 + (name in names[9:])}-of-00002.safetensors" for name in names}
    folder = Path(shutil.copytree(tiny_gpt2_folder, tiny_gpt2_folder.parent / "parts", dirs_exist_ok=True))
    for shard in sorted(set(where.values())):
        part = {name: weights[name] for name in names if where[name] == shard}
        save_file(part, folder / shard, metadata={"format": "pt"})
        files[shard] = (folder / shard).read_bytes()
    index = {"metadata": {}, "weight_map": where}
    return files | {"model.safetensors.index.json": json.dumps(index).encode(), "pytorch_model.bin": b"not asked for"}


def cached(cache: Path, name: str, files: dict[str, bytes], commit: str = COMMIT) -> Path:
    home = cache / f"models--{name.replace('/', '--')}"
    folder = home / "snapshots" / commit
    folder.mkdir(parents=True)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / "main").write_text(commit)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def whole(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(name: str, revision: str | None = None) -> str:
    with pytest.raises(ExplorerError) as caught:
        load_model(ModelSpec(name=name, revision=revision, device="cpu"))
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_what_was_fetched_once_loads_without_a_hub_and_says_its_commit(
    serve: Serve, shards: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = serve(shards).asked
    first = load_model(ModelSpec(name=NAME, device="cpu"))
    assert not [path for path in asked if "pytorch_model" in path]
    point_to(monkeypatch, 9)
    for revision in (None, "main", COMMIT, COMMIT[:12]):
        again = load_model(ModelSpec(name=NAME, revision=revision, device="cpu"))
        assert again.revision == first.revision == COMMIT
        assert again.weights_sha256 == first.weights_sha256


def test_a_download_that_broke_off_goes_on_with_what_is_missing(
    serve: Serve, shards: dict[str, bytes], cache: Path
) -> None:
    lost = "model-00002-of-00002.safetensors"
    cached(cache, NAME, {name: content for name, content in shards.items() if name != lost})
    assert f"without {lost}" in refusal(NAME)
    asked = serve(shards).asked
    assert load_model(ModelSpec(name=NAME, device="cpu")).revision == COMMIT
    assert {path.rpartition("/")[2] for path in asked if "resolve" in path} == {lost}


@pytest.mark.parametrize("part", ["as it came", "of something else", "longer than the file"])
def test_a_download_that_broke_off_within_a_file_goes_on_there_and_what_is_put_together_is_checked(
    serve: Serve, cache: Path, tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    files = whole(tiny_gpt2_folder)
    weights = files["model.safetensors"]
    broken = serve(files, breaks_after=30_500)
    line = refusal(NAME)
    assert "the hub answers 503; 0.03 MB that came of a file are kept, and the next try goes on from there" in line
    assert broken.ranges == ["", "bytes=30000-"]
    (kept,) = cache.glob("**/*.incomplete")
    assert kept.read_bytes() == weights[:30_000]
    if part == "of something else":
        kept.write_bytes(bytes(30_000))
    elif part == "longer than the file":
        kept.write_bytes(weights + b"x")
    sound = serve(files)
    if part == "of something else":
        assert "they are not the file that the hub has" in refusal(NAME)
        assert not list(cache.glob("**/*.incomplete"))
    model = load_model(ModelSpec(name=NAME, device="cpu"))
    assert {"as it came": ["bytes=30000-"], "of something else": ["bytes=30000-", ""]}.get(part, [""]) == sound.ranges
    assert fetch_model(NAME).folder is not None
    assert not list(cache.glob("**/*.incomplete"))
    assert (cache / "models--somebody--tiny" / "snapshots" / COMMIT / "model.safetensors").read_bytes() == weights
    assert model.weights_sha256 == load_model(ModelSpec(name=str(tiny_gpt2_folder), device="cpu")).weights_sha256


@pytest.mark.parametrize("network", ["closed", "silent", "404"])
def test_a_cached_model_asks_no_network_and_another_is_refused_soon(
    network: str, request: pytest.FixtureRequest, cache: Path, tiny_gpt2_folder: Path
) -> None:
    if network == "silent":
        request.getfixturevalue("silent")
    asked = request.getfixturevalue("serve")({}).asked if network == "404" else []
    cached(cache, "a/b", whole(tiny_gpt2_folder))
    assert load_model(ModelSpec(name="a/b", device="cpu")).revision == COMMIT
    assert not asked
    begin = time.monotonic()
    line = refusal("nobody/nothing")
    assert time.monotonic() - begin < 20
    assert "nobody/nothing is not on this machine" in line
    assert ("the hub has no model" if network == "404" else "cannot be reached") in line


@pytest.mark.parametrize(
    ("there", "names"),
    [
        ("gpt2", ["openai-community/gpt2", "gpt2-small", "gpt2"]),
        ("openai-community/gpt2", ["gpt2", "gpt2-small"]),
        ("distilbert/distilgpt2", ["distilgpt2", "distillgpt2"]),
        ("EleutherAI/pythia-70m", ["pythia-70m", "Pythia-70M"]),
    ],
)
def test_one_model_is_found_by_any_of_its_names(
    cache: Path, tiny_gpt2_folder: Path, there: str, names: list[str]
) -> None:
    folder = cached(cache, there, whole(tiny_gpt2_folder))
    for name in names:
        assert find_model(name).folder == folder
        assert fetch_model(name).source == there


@pytest.mark.parametrize("name", ["my model", "x..y", "-x", "é", "y" * 97, "y" * 300])
def test_a_name_that_no_model_can_have_is_refused_at_once(name: str, cache: Path) -> None:
    with pytest.raises(ExplorerError, match="no model can have this name"):
        find_model(name)


def test_a_name_that_is_nearly_right_is_offered_and_a_cached_revision_too(cache: Path, tiny_gpt2_folder: Path) -> None:
    assert "did you mean 'pythia-160m'?" in refusal("pythia-160mm")
    folder = cached(cache, NAME, whole(tiny_gpt2_folder))
    line = refusal(NAME, "v2")
    assert f"set model.revision to the one that is cached, {folder.name}" in line
    assert "at revision v2" in line


UNFIT: list[tuple[str, dict[str, bytes], str]] = [
    ("pickles only", {"config.json": b"{}", "pytorch_model.bin": b"x"}, "pickled (pytorch_model.bin)"),
    ("GGUF only", {"model-q4.gguf": b"x"}, "GGUF"),
    ("an adapter", {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}, "it is a PEFT adapter"),
    (
        "an adapter beside",
        {"config.json": b"{}", "model.safetensors": b"x", "adapter_config.json": b"{}"},
        "a PEFT adapter (adapter_config.json) lies beside the model",
    ),
]


@pytest.mark.parametrize(("files", "says"), [case[1:] for case in UNFIT], ids=[case[0] for case in UNFIT])
def test_what_cannot_be_used_is_refused_by_its_cause_wherever_it_lies(
    serve: Serve, cache: Path, tmp_path: Path, files: dict[str, bytes], says: str
) -> None:
    (tmp_path / "here").mkdir()
    for name, content in files.items():
        (tmp_path / "here" / name).write_bytes(content)
    assert says in refusal(str(tmp_path / "here"))
    asked = serve(files).asked
    line = refusal(NAME)
    assert says in line
    assert f"{NAME} at revision {COMMIT[:12]}" in line
    assert not [path for path in asked if "resolve" in path]
    cached(cache, "x/y", files)
    assert says in refusal("x/y")
    if "adapter" in says:
        assert "merge_and_unload()" in line


QUANTISED: list[tuple[dict[str, object], str, str]] = [
    ({"quant_method": "gptq", "bits": 4}, "GPTQ, 4 bits", "the model it was made from"),
    ({"quant_method": "awq", "bits": 4}, "AWQ, 4 bits", "the model it was made from"),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes, 8 bits", ".dequantize()"),
    ({"load_in_4bit": True}, "bitsandbytes, 4 bits", ".dequantize()"),
    ({"quant_method": "fp8"}, "fp8", "the model it was made from"),
]


@pytest.mark.parametrize(("packed", "says", "remedy"), QUANTISED)
def test_quantised_weights_are_refused_before_they_are_fetched(
    serve: Serve, tmp_path: Path, packed: dict[str, object], says: str, remedy: str
) -> None:
    config = json.dumps({"model_type": "llama", "quantization_config": packed}).encode()
    asked = serve({"config.json": config, "tokenizer.json": b"{}", "model.safetensors": b"x"}).asked
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").write_bytes(config)
    (tmp_path / "here" / "model.safetensors").write_bytes(b"x")
    for line in (refusal(NAME), refusal(str(tmp_path / "here"))):
        assert f"quantised ({says})" in line
        assert remedy in line
    assert not [path for path in asked if path.endswith(".safetensors")]


FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
"""The numbers that the lower three of four bits stand for; the upper one is the sign."""


def test_mxfp4_weights_are_the_plain_numbers_that_their_codes_stand_for(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_local_experts": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_experts_per_tok": 2}
    config = GptOssConfig(vocab_size=600, eos_token_id=599, bos_token_id=599, pad_token_id=599, **sizes, **heads)
    GptOssForCausalLM(config).save_pretrained(tmp_path)
    for path in tiny_gpt2_folder.glob("tokenizer*"):
        shutil.copy(path, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    expected: dict[str, torch.Tensor] = {}
    for name in [name for name in weights if name.endswith(("gate_up_proj", "down_proj"))]:
        experts, read, written = weights.pop(name).shape
        codes = torch.randint(16, (experts, written, read), generator=generator)
        scales = torch.randint(118, 124, (experts, written, read // 32), generator=generator)
        signs = torch.where(codes >= 8, -1.0, 1.0)
        plain = signs * FP4[codes % 8] * torch.exp2(scales.repeat_interleave(32, dim=-1) - 127.0)
        expected[name] = plain.transpose(1, 2)
        packed = (codes[..., 0::2] | (codes[..., 1::2] << 4)).to(torch.uint8)
        weights[f"{name}_blocks"] = packed.reshape(experts, written, read // 32, 16)
        weights[f"{name}_scales"] = scales.to(torch.uint8)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "mxfp4"}}))
    model = load_model(ModelSpec(name=str(tmp_path), device="cpu"))
    state = {
        name.replace("_original_component.", ""): value
        for name, value in model.bridge.original_model.state_dict().items()
    }
    assert len(expected) == 4
    for name, plain in expected.items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], plain)
