"""The model card, written from measured values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from demo_model.evaluation import Score
from demo_model.recipe import Recipe

TEXT = """\
# Demo model

A very small GPT-2-architecture language model that ships with srm-explorer so that everything can be tried without a
download. **It is a demo.** It writes fluent-looking short texts about doors, windows, who stands outside, small
exercises and dictionary entries; what it says is not knowledge, and a finding about one of its neurons says nothing
about any other model.

| | |
|---|---|
| architecture | GPT-2: {layers} layers, width {width}, {heads} heads, {neurons} neurons a layer, embedding tied |
| parameters | {parameters:,} |
| context | {context} tokens |
| vocabulary | {vocabulary:,} byte-level BPE tokens; `{end}` begins and ends; nothing is added to a text by itself |
| files | {kilobytes:,} kB in all, weights in fp16 safetensors |

## Data

- **WordNet 3.0** (Debian's `wordnet-base`): glosses and example sentences, one entry a line, one to six neighbouring
  entries a document: `word (noun): definition. Example.`
- **Generated paragraphs** from seeded templates in `tools/demo_model/`: stories of someone who hears, looks and sees
  (doors, peepholes, windows, sides, views, dates); exercises in logic, arithmetic in words, comparison, order, days and
  syntax; one proposition framed observationally, declaratively, authoritatively and rhetorically, from vague to
  certain.

Duplicates were removed, then documents were shuffled and split:

{sizes}

The generated documents share their templates across the split, so the numbers for that part measure how well the
templates were learned, not how well English was. The WordNet part is the harder and the more telling one.

## Recipe

{stop:,} steps of {batch} x {context} tokens ({seen:.1f} M tokens, {turns:.1f} times the training tokens). Muon for the
matrices of the blocks, AdamW (betas 0.9 and 0.95) for the rest, weight decay {weight_decay} for all but norms and
biases. Rate {peak_rate} after {warmup} steps of warmup, over the last {decay:.0%} of the schedule a cosine down to
{final_share:.0%} of it, a schedule of {steps:,} steps; gradient norm clipped at {clip}, dropout {dropout}, {precision},
seed {seed}, CPU threads {threads}. It took {minutes:.0f} minutes on a shared processor.

## Results

Training loss, mean of the last 200 steps: {train_loss:.3f} nats a token.

Held-out documents that fit the context, measured on the fp16 weights as shipped, each document alone after `{end}`,
its own end counted; loss in nats a token. The trigram model mixes trigram, bigram, unigram and uniform frequencies of
the same training tokens; its weights, one set for each bucket of history counts, were fitted by expectation
maximisation on a separate slice.

{results}

## Samples

Greedy continuations of up to 50 tokens, not selected or edited; the prompt is in bold.

{samples}

## Retrain

    python tools/train_demo_model.py --scratch FOLDER

fetches WordNet with `apt-get download`, or takes `--wordnet FOLDER`. The same machine, thread count and library
versions ({versions}) give the same weights.

## Licence

The model and the generated text are under this project's licence (MIT). The WordNet text the model was trained on is
under the WordNet 3.0 licence:

{licence}
"""


@dataclass(frozen=True)
class Facts:
    """What was measured and is not in the recipe."""

    parameters: int
    kilobytes: int
    sizes: Mapping[str, tuple[int, int, int, int]]
    train_tokens: int
    train_loss: float
    minutes: float
    model: Mapping[str, Score]
    trigram: Mapping[str, Score]
    samples: list[tuple[str, str]]
    versions: str
    licence: str
    end: str


def write(recipe: Recipe, facts: Facts) -> str:
    """Fill the card."""
    sizes = ["| part | training documents | training tokens | trigram's slice | held out |", "|---|--:|--:|--:|--:|"]
    sizes += [f"| {part} | {a:,} | {b:,} | {c:,} | {d:,} |" for part, (a, b, c, d) in facts.sizes.items()]
    results = [
        "| held-out part | tokens | loss | perplexity | trigram's loss | perplexity |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    results += [
        f"| {part} | {score.tokens:,} | {score.loss:.3f} | **{score.perplexity:.2f}** | {other.loss:.3f} | "
        f"{other.perplexity:.2f} |"
        for part, score in facts.model.items()
        for other in [facts.trigram[part]]
    ]
    seen = recipe.stop * recipe.batch * recipe.context
    return TEXT.format(
        **vars(recipe),
        neurons=4 * recipe.width,
        parameters=facts.parameters,
        kilobytes=facts.kilobytes,
        sizes="\n".join(sizes),
        seen=seen / 1e6,
        turns=seen / facts.train_tokens,
        precision="bf16 autocast" if recipe.bf16 else "fp32",
        minutes=facts.minutes,
        train_loss=facts.train_loss,
        results="\n".join(results),
        samples="\n\n".join(f"> **{prompt}**{text}" for prompt, text in facts.samples),
        versions=facts.versions,
        licence="\n".join(f"> {line}".rstrip() for line in facts.licence.splitlines()),
        end=facts.end,
    )
