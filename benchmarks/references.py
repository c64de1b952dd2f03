"""What ours is compared with: the same work as others write it, kept simple and right rather than fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.edits import Edit


def one_at_a_time(
    bridge: Any, prompt: Sequence[int], edits: Sequence[Edit], sites: Sequence[str], tokens: int
) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Write as published work does: one prompt, one value, `generate` under a hook, then a forward pass to capture.

    Args:
        bridge: a TransformerLens bridge.
        prompt: token ids.
        edits: clamps at `all` or `prompt` positions.
        sites: where to capture.
        tokens: how many to write.

    Returns:
        The ids, and a [d] float32 mean over the generated tokens for each site.
    """
    kept: dict[str, torch.Tensor] = {}

    def clamp(edit: Edit) -> Any:
        def hook(activation: torch.Tensor, hook: Any) -> torch.Tensor:
            # A cached step carries one generated token; anything longer begins with the prompt.
            is_step = activation.shape[1] < len(prompt)
            end = activation.shape[1] if edit.positions == "all" else 0 if is_step else len(prompt)
            activation[:, :end, list(edit.neurons)] = torch.tensor(edit.values, dtype=activation.dtype)
            return activation

        return hook

    def keep(site: str) -> Any:
        def hook(activation: torch.Tensor, hook: Any) -> None:
            kept[site] = activation[0, len(prompt) :].mean(dim=0)

        return hook

    clamps = [(edit.site, clamp(edit)) for edit in edits]
    ids = torch.tensor([list(prompt)])
    with torch.inference_mode():
        with bridge.hooks(fwd_hooks=clamps):
            text = bridge.generate(
                ids, max_new_tokens=tokens, do_sample=False, stop_at_eos=False, return_type="tokens", verbose=False
            )
        with bridge.hooks(fwd_hooks=[*clamps, *((site, keep(site)) for site in sites)]):
            bridge(text)
    return tuple(text[0, len(prompt) :].tolist()), [kept[site].numpy() for site in sites]


class PlainModel:
    """A model as a careful user of Hugging Face alone has it: no bridge, hooks at the sites that are edited or kept.

    Args:
        folder: with its weights.
    """

    def __init__(self, folder: Path | str) -> None:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model = model.eval()
        self.model.generation_config.eos_token_id = None
        self._blocks: Any = getattr(model.base_model, "h", None) or model.base_model.layers

    def _after_activation(self, layer: int) -> nn.Module:
        mlp = self._blocks[layer].mlp
        return mlp.c_proj if hasattr(mlp, "c_proj") else mlp.down_proj

    @contextmanager
    def clamped(self, edits: Sequence[Edit]) -> Iterator[None]:
        """Clamp neurons at `mlp.hook_post`, which is what the MLP's last product takes, at all positions."""

        def clamp(edit: Edit) -> Any:
            def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                args[0][..., list(edit.neurons)] = torch.tensor(edit.values, dtype=args[0].dtype)
                return args

            return hook

        handles = [
            self._after_activation(Site.parse(edit.site).layer).register_forward_pre_hook(clamp(edit)) for edit in edits
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def keeping(self, sites: Sequence[str], kept: dict[str, Tensor]) -> Iterator[None]:
        """Keep what `mlp.hook_post` or `hook_resid_post` of some layers hold, [row, col, d]."""

        def entering(site: str) -> Any:
            def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
                kept[site] = args[0]

            return hook

        def leaving(site: str) -> Any:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                kept[site] = output if isinstance(output, Tensor) else output[0]

            return hook

        handles: list[Any] = []
        for site in sites:
            at = Site.parse(site)
            if at.kind == "hook_resid_post":
                handles.append(self._blocks[at.layer].register_forward_hook(leaving(site)))
            else:
                handles.append(self._after_activation(at.layer).register_forward_pre_hook(entering(site)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def all_at_once(
        self, prompts: Sequence[Sequence[int]], edits: Sequence[Edit], sites: Sequence[str], tokens: int
    ) -> tuple[list[tuple[int, ...]], dict[str, np.ndarray]]:
        """Write from all prompts under one value: `generate`, left-padded, then one batched pass to capture.

        Returns:
            The ids of each prompt, and [prompt, d] means over the generated tokens for each site.
        """
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        kept: dict[str, Tensor] = {}
        with torch.inference_mode(), self.clamped(edits):
            text = self.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=0
            )
            mask = torch.cat([mask, mask.new_ones(len(prompts), tokens)], dim=1)
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            with self.keeping(sites, kept):
                # The unembedding is left out: nobody reads it here.
                self.model.base_model(input_ids=text, attention_mask=mask, position_ids=positions, use_cache=False)
        means = {site: kept[site][:, width:].mean(dim=1).numpy() for site in sites}
        return [tuple(row) for row in text[:, width:].tolist()], means

    def log_probabilities(self, ids: Sequence[int], edits: Sequence[Edit], last: int) -> Tensor:
        """Read one text in one pass under some clamps: [last, vocab] log-probabilities of its last tokens."""
        with torch.inference_mode(), self.clamped(edits):
            logits = self.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
        return logits[-last - 1 : -1].log_softmax(dim=-1)

    def scores(self, texts: Sequence[tuple[Sequence[int], Sequence[int]]], edits: Sequence[Edit]) -> list[Tensor]:
        """Read prompts and what follows each in one pass under some clamps: [token, vocab] log-probabilities a text."""
        width = max(len(prompt) + len(tokens) for prompt, tokens in texts)
        # Right-padded: under a causal mask, what comes after a text changes nothing in it.
        ids = torch.zeros(len(texts), width, dtype=torch.long)
        for row, (prompt, tokens) in enumerate(texts):
            ids[row, : len(prompt) + len(tokens)] = torch.tensor([*prompt, *tokens])
        with torch.inference_mode(), self.clamped(edits):
            streams = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            spans = [slice(len(prompt) - 1, len(prompt) + len(tokens) - 1) for prompt, tokens in texts]
            there = torch.cat([stream[span] for stream, span in zip(streams, spans, strict=True)])
            return list(self.model.lm_head(there).log_softmax(dim=-1).split([len(tokens) for _, tokens in texts]))

    def products(self) -> Products:
        """The matrix products of a token, with the model's own weights."""
        return Products(self.model, self._blocks, self._after_activation(len(self._blocks) - 1))


class Products:
    """Every matrix product with weights that a step takes: what no decoder can do without.

    Rows whose texts were alike so far are one up to the neurons of the last block, where they are edited. What those
    write is multiplied for each row; logits are made for each row, or for each text and each edited neuron, of whose
    logits those of a row are a sum. That and the unembedding whole or in stretches of the vocabulary is tried, and the
    fastest counts: a limit is the best known.

    Args:
        model: from Hugging Face.
        blocks: its blocks.
        writes: the last product of the last block.
    """

    _STRETCH = 1024

    def __init__(self, model: Any, blocks: Sequence[nn.Module], writes: nn.Module) -> None:
        self._head = model.get_output_embeddings()
        self._writes = writes
        self._shared = [module for block in blocks for module in _products_in(block) if module is not writes]

    @staticmethod
    def _through(module: Any, rows: Tensor) -> Tensor:
        if isinstance(module, nn.Linear):
            return nn.functional.linear(rows, module.weight, module.bias)
        return torch.addmm(module.bias, rows, module.weight)

    def _blocks_seconds(self, modules: Sequence[Any], rows: int) -> float:
        widths = [m.in_features if isinstance(m, nn.Linear) else m.weight.shape[0] for m in modules]
        made = {width: torch.randn(rows, width) for width in widths}
        return _seconds(lambda: [self._through(m, made[width]) for m, width in zip(modules, widths, strict=True)])

    def step_seconds(self, alike: int, rows: int) -> float:
        """Seconds of one step of so many rows, with so many different texts so far: blocks and unembedding."""
        with torch.inference_mode():
            blocks = self._blocks_seconds(self._shared, alike) + self._blocks_seconds([self._writes], rows)
            logits = torch.empty(rows, self._head.out_features)
            ways = [(count, width) for count in (rows, alike) for width in (self._head.out_features, self._STRETCH)]
            return blocks + min(self._unembedding_seconds(logits, *way) for way in ways)

    def prefill_seconds(self, columns: int) -> float:
        """Seconds that so many columns of prompts take through the blocks."""
        with torch.inference_mode():
            return self._blocks_seconds([*self._shared, self._writes], columns)

    def _unembedding_seconds(self, logits: Tensor, count: int, width: int) -> float:
        """Of so many vectors, so many token ids at a time; where they are fewer than rows, summed up for those."""
        hidden = torch.randn(count, self._head.in_features)
        terms = torch.randn(len(logits), count) if count < len(logits) else None

        def unembed() -> None:
            for first in range(0, logits.shape[1], width):
                part = slice(first, first + width)
                made = hidden @ self._head.weight[part].T
                logits[:, part] = made if terms is None else terms @ made

        return _seconds(unembed)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _products_in(block: nn.Module) -> list[Any]:
    return [m for m in block.modules() if isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D"]


def spotlight_by_angles(
    vectors: np.ndarray, first: np.ndarray, second: np.ndarray, thresholds: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Sweep as scripts do: at each of 360 degrees, the cosine of every vector with the spotlight in the whole space.

    Returns:
        [angle] mean cosine, [threshold, angle] vectors above each threshold.
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means, counts = np.empty(360), np.empty((len(thresholds), 360), np.int64)
    for angle in range(360):
        radians = np.deg2rad(angle)
        cosine = unit @ (np.cos(radians) * first + np.sin(radians) * second)
        means[angle] = cosine.mean()
        for number, threshold in enumerate(thresholds):
            counts[number, angle] = np.count_nonzero(cosine > threshold)
    return means, counts
