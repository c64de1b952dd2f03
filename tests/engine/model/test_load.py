from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    CTRLConfig,
    CTRLLMHeadModel,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.blocks import Blocks
from srm_explorer.engine.model.closed_form import is_written
from srm_explorer.engine.model.device import set_tf32
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.model.warm import WarmModel
from srm_explorer.engine.model.weights import w_out_rows
from tests.waiting import PATIENCE

Break = Callable[[Path], Any]


def load(name: Path | str, **fields: Any) -> LoadedModel:
    return load_model(ModelSpec(name=str(name), **({"device": "cpu"} | fields)))


def refusal(name: Path | str, **fields: Any) -> str:
    with pytest.raises(ExplorerError) as caught:
        load(name, **fields)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    assert caught.value.remedy
    return line


@pytest.fixture
def folder(tiny_gpt2_folder: Path, tmp_path: Path) -> Path:
    """A copy of a good model, to be broken."""
    return Path(shutil.copytree(tiny_gpt2_folder, tmp_path / "copy"))


def with_config(**fields: Any) -> Break:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def writing(name: str, content: bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(content)


def removing(pattern: str) -> Break:
    return lambda folder: [path.unlink() for path in folder.glob(pattern)]


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without_a_layer(folder: Path) -> None:
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if "h.1.mlp" not in k}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def without_a_part(folder: Path) -> None:
    where = dict.fromkeys(load_file(folder / "model.safetensors"), "model-00002-of-00002.safetensors")
    where["transformer.wte.weight"] = "model-00001-of-00002.safetensors"
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def renamed(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")


def with_half_an_index(folder: Path) -> None:
    without_a_part(folder)
    writing("model.safetensors.index.json", b'{"weight_map": {')(folder)


def in_codes_of_eight_bits(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "transformer.h.0.mlp.c_fc.weight"
    weights |= {name: weights[name].to(torch.float8_e4m3fn), f"{name}_scale_inv": torch.full((1, 1), 0.5)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


BROKEN: list[tuple[str, Break, str]] = [
    ("no config", removing("config.json"), "no config.json"),
    ("no weights", removing("*.safetensors"), "holds no weights"),
    ("pickled weights", pickled, "nothing is unpickled"),
    ("a part of the weights missing", without_a_part, "model-00002-of-00002.safetensors is missing"),
    ("weights under another name", renamed, "nor in parts that an index names (consolidated.safetensors is not read)"),
    ("half an index", with_half_an_index, "model.safetensors.index.json names no others"),
    ("codes that config.json tells nothing of", in_codes_of_eight_bits, "c_fc.weight_scale_inv is to be multiplied"),
    ("truncated weights", truncated, "weights cannot be read"),
    ("weights that are text", writing("model.safetensors", b"hello"), "weights cannot be read"),
    ("empty weights", writing("model.safetensors", b""), "weights cannot be read"),
    ("missing weights", without_a_layer, "4 of its weights are not in the file"),
    ("fewer layers than said", with_config(n_layer=4), "of its weights are not in the file"),
    ("other widths than said", with_config(n_embd=64), "by config.json"),
    (
        "another vocabulary than said",
        with_config(vocab_size=599),
        "wte.weight is 600 × 32 in the files, and 599 × 32 by",
    ),
    ("config that is no JSON", writing("config.json", b"{nope"), "not a valid JSON"),
    ("config that is no text", writing("config.json", b"\xff\xfe\x00"), "not a valid JSON"),
    ("config that is a list", writing("config.json", b"[1]"), "cannot be loaded"),
    ("unknown architecture", with_config(model_type="nosuch"), "nosuch"),
    ("a word for a number", with_config(n_layer="three"), "cannot be loaded"),
    ("no heads", with_config(n_head=0), "cannot be loaded"),
    ("a negative number of layers", with_config(n_layer=-1), "no stack of blocks"),
    ("no tokenizer", removing("tokenizer*"), "no tokenizer"),
    ("half a tokenizer", removing("tokenizer.json"), "tokenizer cannot be loaded"),
    ("a broken tokenizer", writing("tokenizer.json", b"{}"), "tokenizer cannot be loaded"),
    ("a tokenizer that is no JSON", writing("tokenizer.json", b"{nope"), "tokenizer cannot be loaded"),
]


@pytest.mark.parametrize(("broken", "says"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_folder_is_refused_in_one_line(folder: Path, broken: Break, says: str) -> None:
    broken(folder)
    line = refusal(folder)
    assert says in line
    assert str(folder) in line


def test_weights_that_a_model_computes_without_are_remarked_and_masks_beside_them_are_not(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    masks = {f"transformer.h.{layer}.attn.{name}" for layer in range(2) for name in ("bias", "masked_bias")}
    names = ["transformer.h.0.attn.q_norm.weight", "transformer.h.1.mlp.c_gate.bias"]

    def with_more(*more: str) -> tuple[str, ...]:
        path = folder / "model.safetensors"
        save_file(weights | {name: torch.ones(2) for name in more}, path, metadata={"format": "pt"})
        return load(folder).remarks

    assert with_more(*masks, "h.2.attn.bias") == ()
    assert with_more("vision_model.layers.0.mlp.fc1.weight", "model.multi_modal_projector.linear.bias") == ()
    (remark,) = with_more(*masks, *names)
    assert remark.startswith(f"2 weights in the files of copy have no place in GPT2LMHeadModel, {names[0]} among them")
    (remark,) = with_more(names[1])
    assert remark.startswith(f"a weight in the files of copy has no place in GPT2LMHeadModel ({names[1]})")


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "nowhere", "./nowhere", "~/nowhere/at/all", "models/of/mine"):
        assert "no such folder" in refusal(name)


def test_a_name_that_is_not_cached_while_offline_names_three_remedies() -> None:
    line = refusal("gpt2")
    for remedy in ("hf download openai-community/gpt2", "local folder", "use the demo"):
        assert remedy in line


@pytest.mark.slow
def test_a_network_that_does_not_answer_is_the_same_error() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        code = (
            "from srm_explorer.engine.errors import ExplorerError\n"
            "from srm_explorer.engine.model.load import load_model\n"
            "from srm_explorer.engine.experiment import ModelSpec\n"
            "try:\n    load_model(ModelSpec(name='gpt2', device='cpu'))\n"
            "except ExplorerError as error:\n    print(error)\n"
        )
        environment = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": "/nonexistent", "PATH": "/usr/bin"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    assert "is not on this machine and cannot be fetched" in done.stdout, done.stderr[-2000:]
    assert done.stderr == ""


@pytest.mark.parametrize(("device", "lacking"), [("cuda:9", "cuda:9"), ("cuda:99", "cuda:99"), ("cuda:0-9", "cuda:9")])
def test_a_device_that_is_not_there(tiny_gpt2_folder: Path, device: str, lacking: str) -> None:
    line = refusal(tiny_gpt2_folder, device=device)
    assert f"no device {lacking} here" in line
    assert "model.device" in line


MODELS: list[tuple[str, Callable[[], Any], str]] = [
    (
        "bidirectional",
        lambda: BertForMaskedLM(
            BertConfig(vocab_size=600, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
        ),
        "no causal language model",
    ),
    (
        "encoder and decoder",
        lambda: T5ForConditionalGeneration(T5Config(vocab_size=600, d_model=32, d_kv=8, d_ff=64, num_layers=2)),
        "T5ForConditionalGeneration is no causal language model",
    ),
    (
        "an encoder beside a decoder that could be run alone",
        lambda: BartForConditionalGeneration(
            BartConfig(
                vocab_size=600,
                d_model=32,
                **{f"{part}_{size}": 2 for part in ("encoder", "decoder") for size in ("layers", "attention_heads")},
            )
        ),
        "BartForConditionalGeneration is no causal language model",
    ),
    (
        "an architecture that TransformerLens has not",
        lambda: CTRLLMHeadModel(CTRLConfig(vocab_size=600, n_embd=32, dff=64, n_layer=2, n_head=4)),
        "cannot wrap CTRLLMHeadModel, which it does not know",
    ),
    (
        "attention that TransformerLens expects to have a bias",
        lambda: GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=600,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                attention_bias=False,
            )
        ),
        "cannot wrap GPTNeoXForCausalLM: it expects isinstance(qkv_bias, torch.Tensor)",
    ),
    (
        "no cache",
        lambda: OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=600, n_embd=32, n_layer=2, n_head=4)),
        "has no cache of keys and values",
    ),
]


@pytest.mark.parametrize(("make", "says"), [case[1:] for case in MODELS], ids=[case[0] for case in MODELS])
def test_other_kinds_of_model_are_refused(
    tiny_gpt2_folder: Path, tmp_path: Path, make: Callable[[], Any], says: str
) -> None:
    make().save_pretrained(tmp_path)
    for path in tiny_gpt2_folder.glob("tokenizer*"):
        shutil.copy(path, tmp_path)
    assert says in refusal(tmp_path)


def test_a_model_that_reads_images_too_is_fed_texts_and_nothing_is_installed_for_it(
    tiny_gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = {"num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 48}
    text = layer | {"vocab_size": 600, "hidden_size": 32, "num_key_value_heads": 2, "head_dim": 16}
    images = layer | {"hidden_size": 16, "image_size": 28, "patch_size": 14}
    Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=text, vision_config=images, mm_tokens_per_image=4)
    ).save_pretrained(tmp_path)
    for path in tiny_gpt2_folder.glob("tokenizer*"):
        shutil.copy(path, tmp_path)
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "check_call", lambda *command, **_: started.append(command))
    loaded = load(tmp_path)
    assert started == []
    assert self_test(loaded).wrapped_vs_plain is not None


@pytest.mark.parametrize("model_type", ["gpt2", "unheard-of"])
def test_code_that_comes_with_a_model_never_runs(folder: Path, tmp_path: Path, model_type: str) -> None:
    mark = tmp_path / "it-ran"
    (folder / "own.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast\n"
        "class Config(GPT2Config): model_type = 'unheard-of'\n"
        "class Model(GPT2LMHeadModel): config_class = Config\n"
        "class Words(PreTrainedTokenizerFast): pass\n"
    )
    code = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model", "AutoTokenizer": ["own.Words", None]}
    with_config(model_type=model_type, auto_map=code)(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"auto_map": code}))
    if model_type == "gpt2":
        assert load(folder).shape.n_layers == 3
    else:
        assert "needs no code of its own" in refusal(folder)
    assert not mark.exists()


@pytest.mark.parametrize(("shape", "centres"), [("gpt2", True), ("llama", False)])
def test_the_shape_is_that_of_the_folder(request: pytest.FixtureRequest, shape: str, centres: bool) -> None:
    model: LoadedModel = request.getfixturevalue(f"tiny_{shape}")
    sizes = model.shape
    assert (sizes.n_layers, sizes.d_model, sizes.d_mlp, sizes.n_ctx, sizes.centres) == (3, 32, 64, 256, centres)
    assert model.dtype == torch.float64
    assert not model.is_demo


def test_the_hash_of_the_weights_changes_with_any_of_them(folder: Path) -> None:
    before = load(folder)
    assert load(folder).weights_sha256 == before.weights_sha256
    assert load(folder, dtype="float64").weights_sha256 != before.weights_sha256
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "h.2.mlp.c_fc.bias" in name)
    weights[name][5] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).weights_sha256 != before.weights_sha256


def test_a_relative_folder_starts_from_the_experiment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_model(ModelSpec(name="copy", device="cpu"), base=folder.parent).shape.n_layers == 3


def test_loading_prints_nothing_on_standard_output(tiny_gpt2_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(tiny_gpt2_folder)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
    ids=["ours", "theirs", "a policy"],
)
def test_threads_that_wait_give_their_core_up_unless_somebody_says_how(given: dict[str, str], told: str) -> None:
    code = "import os, srm_explorer.engine.model; print(os.environ.get('GOMP_SPINCOUNT'))"
    left = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=left | given, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert done.stdout.strip() == told


def test_ways_are_compared_in_all_of_float32_whatever_products_a_run_is_allowed(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[bool] = []

    def note(*_: Any, **__: Any) -> None:
        allowed.append(bool(torch.backends.cuda.matmul.allow_tf32))

    monkeypatch.setattr(Blocks, "_agrees", note)
    try:
        model = load_model(ModelSpec(name=str(tiny_gpt2_folder), device="cpu", tf32=True))
        site = "blocks.1.mlp.hook_post"
        with model.hooks([(site, note)]):
            assert is_written(model, "blocks.1.hook_resid_post", site, (3,), w_out_rows(model, 1)[[3]])
        assert len(allowed) > 2
        assert not any(allowed)
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        set_tf32(False)


def test_float32_is_float32_also_where_a_notebook_allows_less(tiny_gpt2_folder: Path) -> None:
    spec, warm = ModelSpec(name=str(tiny_gpt2_folder), device="cpu"), WarmModel()
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(ExplorerError, match="autocast is on"),
    ):
        warm.load(spec, Path(), lambda _: None)
    try:
        torch.set_float32_matmul_precision("medium")
        warm.load(spec, Path(), lambda _: None)
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_model_at_hand_computes_as_it_was_asked_to_whatever_was_loaded_since(tiny_gpt2_folder: Path) -> None:
    exact, fast = (ModelSpec(name=str(tiny_gpt2_folder), device="cpu", tf32=tf32) for tf32 in (False, True))
    warm = WarmModel()
    try:
        for mine, others in ((exact, fast), (fast, exact)):
            model = warm.load(mine, Path(), lambda _: None)
            load_model(others)
            assert warm.load(mine, Path(), lambda _: None) is model
            assert torch.backends.cuda.matmul.allow_tf32 is mine.tf32
    finally:
        set_tf32(False)


def test_what_a_notebook_allows_is_given_back_after_an_error_too_by_whatever_names_it_was_set() -> None:
    """Each in a process of its own: torch refuses to tell by its older names what was set by its newer ones."""
    code = """
import os, sys, torch
from srm_explorer.engine.model.device import set_threads, set_tf32, settings_given_back
b = torch.backends
ways = {
    "as it is": lambda: None,
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "older": lambda: setattr(b.cuda.matmul, "allow_tf32", True),
    "newer": lambda: [setattr(place.matmul, "fp32_precision", "tf32") for place in (b.cuda, b.mkldnn)],
    "all": lambda: setattr(b, "fp32_precision", "tf32"),
}
def told(ask):
    try:
        return ask()
    except RuntimeError:
        return "refused"
def state():
    places = (b.cuda.matmul, b.mkldnn.matmul, b.cudnn.conv, b.cudnn.rnn, b)
    older = (torch.get_float32_matmul_precision, lambda: b.cuda.matmul.allow_tf32, lambda: b.cudnn.allow_tf32)
    return [p.fp32_precision for p in places], [told(ask) for ask in older], torch.get_num_threads()
for name, way in ways.items():
    if not (child := os.fork()):
        way()
        before = state()
        try:
            with settings_given_back():
                set_tf32(False)
                set_threads(before[2] + 1)
                assert b.cuda.matmul.fp32_precision == b.mkldnn.matmul.fp32_precision == "ieee"
                raise ZeroDivisionError
        except ZeroDivisionError:
            print(name, before == state() or (before, state()), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    ways = ("as it is", "medium", "older", "newer", "all")
    assert done.stdout.splitlines() == [f"{way} True" for way in ways], done.stderr[-2000:]
