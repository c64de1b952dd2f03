"""Train the bundled demo model from scratch: `python tools/train_demo_model.py --scratch FOLDER`.

The same machine, thread count and library versions give the same weights again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from demo_model import corpus, wordnet
from demo_model.evaluation import fitting, tokenise
from demo_model.publication import publish
from demo_model.recipe import Recipe
from demo_model.training import train, train_tokenizer

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Read the command line, train unless told not to, then measure the model and write it with its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", type=Path, help="folder of data.noun and its siblings; else fetched by apt-get")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for downloads and checkpoints")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="length of the learning-rate schedule")
    parser.add_argument("--stop", type=int, default=Recipe.stop, help="how many of its steps to take")
    parser.add_argument("--out", type=Path, default=ROOT / "engine" / "demo", help="folder of the finished model")
    parser.add_argument("--sample", type=Path, default=ROOT / "tests" / "data" / "demo_heldout.json")
    parser.add_argument("--publish-only", action="store_true", help="take the last checkpoint in the scratch folder")
    args = parser.parse_args()
    recipe = Recipe(steps=args.steps, stop=min(args.stop, args.steps))
    torch.set_num_threads(recipe.threads)
    args.scratch.mkdir(parents=True, exist_ok=True)
    folder = args.wordnet or wordnet.fetch(args.scratch)
    parts = corpus.build(folder, recipe.generated, recipe.seed)
    if not args.publish_only:
        texts = [text for documents in parts.train.values() for text in documents]
        tokenizer = train_tokenizer(texts, recipe)
        ids = tokenise(tokenizer, texts)
        print(f"{len(texts)} documents, {sum(map(len, ids)) + len(ids)} tokens", flush=True)
        probe = {name: tokenise(tokenizer, fitting(tokenizer, part[:100])) for name, part in parts.heldout.items()}
        train(recipe, ids, probe, tokenizer, args.scratch)
    publish(args.scratch / "checkpoint", parts, wordnet.licence(folder), args.out, args.sample)


if __name__ == "__main__":
    main()
