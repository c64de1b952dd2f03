"""The bundled demo model is small, complete, loads offline and has learned its texts."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "engine" / "demo"
SAMPLE = ROOT / "tests" / "data" / "demo_heldout.json"


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True, dtype=torch.float32).eval()


def perplexity(model: GPT2LMHeadModel, documents: list[str]) -> float:
    """Score each document alone after the end token, its own end counted: [document] texts to nats, exponentiated."""
    end = tokenizer().eos_token_id
    total, tokens = 0.0, 0
    for ids in tokenizer()(documents, add_special_tokens=False)["input_ids"]:
        row = torch.tensor([[end, *ids, end]])
        with torch.inference_mode():
            logits = model(row[:, :-1]).logits[0]
        total += torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum").item()
        tokens += row.shape[1] - 1
    return math.exp(total / tokens)


def test_the_folder_stays_within_its_size() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 8_000_000


def test_the_shape_is_what_presets_may_rely_on(model: GPT2LMHeadModel) -> None:
    assert 1_000_000 <= sum(weight.numel() for weight in model.parameters()) <= 2_000_000
    assert model.config.model_type == "gpt2"
    assert model.config.n_positions >= 128
    assert model.config.vocab_size == len(tokenizer())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_weights_are_stored_in_half_precision() -> None:
    stored = AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True, dtype="auto")
    assert {weight.dtype for weight in stored.parameters()} == {torch.float16}


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_survives_the_tokenizer(text: str) -> None:
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert tokenizer().decode(ids) == text


@pytest.mark.parametrize(
    "text", ["Someone knocked on the door.", " naïve – 東京 🙂", "two  spaces\n\tand a tab", "it 's , n't"]
)
def test_nothing_is_added_to_a_text(text: str) -> None:
    plain = tokenizer()(text)["input_ids"]
    assert plain == tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert tokenizer().decode(plain) == text
    assert tokenizer().bos_token_id not in plain


def test_the_end_token_is_one_id_known_to_model_and_tokenizer(model: GPT2LMHeadModel) -> None:
    assert tokenizer()("<|endoftext|>")["input_ids"] == [tokenizer().eos_token_id]
    assert (
        tokenizer().bos_token_id == tokenizer().eos_token_id == model.config.eos_token_id == model.config.bos_token_id
    )


def test_unseen_documents_surprise_it_less_than_the_trigram(model: GPT2LMHeadModel) -> None:
    sample = json.loads(SAMPLE.read_text(encoding="utf-8"))
    assert len(sample["documents"]) == 200
    assert perplexity(model, sample["documents"]) < sample["trigram_perplexity"]


def test_the_order_of_words_matters_to_it(model: GPT2LMHeadModel) -> None:
    documents = json.loads(SAMPLE.read_text(encoding="utf-8"))["documents"][-40:]
    reversed_words = [" ".join(reversed(text.split())) for text in documents]
    assert 3 * perplexity(model, documents) < perplexity(model, reversed_words)


def test_the_card_says_what_it_is_and_carries_the_licence() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "It is a demo" in card
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in card
    assert "without fee or" in card
