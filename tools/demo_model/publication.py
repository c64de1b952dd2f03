"""From a checkpoint to the bundled folder: measured as it will be loaded, with its card and a held-out sample."""

from __future__ import annotations

import json
import platform
import shutil
from itertools import chain
from pathlib import Path

import tokenizers
import torch
import transformers
from demo_model import card
from demo_model.corpus import Corpus
from demo_model.evaluation import PROMPTS, Score, continuation, fitting, score, tokenise
from demo_model.recipe import Recipe
from demo_model.trigram import Trigram
from transformers import AutoModelForCausalLM, AutoTokenizer

COPIED = ("config.json", "model.safetensors", "tokenizer.json")
SAMPLE = 100  # held-out documents of each part that go into the tests' sample


def publish(checkpoint: Path, corpus: Corpus, licence: str, out: Path, sample: Path) -> None:
    """Write the model's folder `out` and the file `sample`.

    Args:
        checkpoint: a folder that training exported.
        corpus: the documents it was trained with.
        licence: WordNet's, which both carry.
        out: gets weights, configuration, tokenizer and MODEL_CARD.md.
        sample: gets held-out documents and the trigram's perplexity on them, as JSON.
    """
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    end = tokenizer.eos_token_id
    progress = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))
    recipe = Recipe(**{**progress["recipe"], "stop": progress["step"]})
    train = {part: tokenise(tokenizer, documents) for part, documents in corpus.train.items()}
    tune = {part: tokenise(tokenizer, documents) for part, documents in corpus.tune.items()}
    texts = {part: fitting(tokenizer, documents) for part, documents in corpus.heldout.items()}
    heldout = {part: tokenise(tokenizer, documents) for part, documents in texts.items()}
    trigram = Trigram(list(chain.from_iterable(train.values())), recipe.vocabulary, end)
    trigram.fit(list(chain.from_iterable(tune.values())))
    scores = {part: score(model, rows, end) for part, rows in heldout.items()}
    baseline = {part: Score(*trigram.loss(rows)) for part, rows in heldout.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(checkpoint / name, out / name)
    # Named as GPT-2's own class, which every version of transformers knows.
    settings = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": recipe.context, "add_prefix_space": False}
    settings |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), tokenizer.eos_token)
    _write_json(out / "tokenizer_config.json", settings)
    sampled = [text for documents in texts.values() for text in documents[:SAMPLE]]
    _write_json(
        sample,
        {
            "about": "held-out documents of the demo model; those from WordNet are under the licence given here",
            "licence": licence,
            "trigram_perplexity": round(Score(*trigram.loss(tokenise(tokenizer, sampled))).perplexity, 3),
            "documents": sampled,
        },
    )
    versions = (
        f"torch {torch.__version__}, transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    )
    facts = card.Facts(
        parameters=sum(weight.numel() for weight in model.parameters()),
        kilobytes=round(sum(path.stat().st_size for path in out.iterdir() if path.name != "MODEL_CARD.md") / 1000),
        sizes={
            part: (len(train[part]), sum(map(len, train[part])), len(tune[part]), len(heldout[part])) for part in train
        },
        train_tokens=sum(len(ids) + 1 for rows in train.values() for ids in rows),
        train_loss=progress["train_loss"],
        minutes=progress["seconds"] / 60,
        model={**scores, "both": sum(scores.values(), Score(0.0, 0))},
        trigram={**baseline, "both": sum(baseline.values(), Score(0.0, 0))},
        samples=[(prompt, continuation(model, tokenizer, prompt)) for prompt in PROMPTS],
        versions=f"python {platform.python_version()}, {versions}",
        licence=licence,
        end=tokenizer.eos_token,
    )
    (out / "MODEL_CARD.md").write_text(card.write(recipe, facts), encoding="utf-8")


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
