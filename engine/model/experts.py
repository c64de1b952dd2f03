"""Mixtures of experts: the neurons of each expert, and the weight the router gives it, as sites.

The experts of a layer are fused parameters, so no hook of a module reaches between their matrices. The library lets
the function be chosen that computes them: while somebody listens to a layer it is `_heard`, expert by expert as the
library's own eager loop, and every other layer computes as it always does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from srm_explorer.engine.model.device import int_list

_NAME = "srm_explorer"
"""What our function is called in the library's list of experts functions."""

_functions: Any = ALL_EXPERTS_FUNCTIONS

_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}
_HALF = 1e-1

Hook = Callable[..., Tensor | None]
"""Takes [row, col, d] and, as `hook`, which positions it is about; returns what stands there instead, or None."""


@dataclass(frozen=True)
class Routed:
    """Which positions of a feed a site is about: for an expert those that are sent to it, elsewhere it holds zeros."""

    mask: Bool[Tensor, "row col"]


@dataclass
class _Listener:
    """Who listens to a layer.

    Args:
        hooks: by expert; under None those of the router.
        shape: rows and columns of the feed, which the experts see as one list of tokens.
    """

    hooks: Mapping[int | None, Sequence[Hook]]
    shape: tuple[int, int] = (0, 0)

    def router(self, weights: Float[Tensor, "token expert"]) -> None:
        """Tell the weights that every expert's output is added with."""
        everywhere = Routed(torch.ones(self.shape, dtype=torch.bool, device=weights.device))
        for hook in self.hooks.get(None, ()):
            hook(self._laid_out(weights), hook=everywhere)

    def expert(
        self, expert: int, activation: Float[Tensor, "routed d"], tokens: Int[Tensor, " routed"]
    ) -> Float[Tensor, "routed d"]:
        """Tell an expert's activations at the tokens that are sent to it; return what goes on from there."""
        hooks = self.hooks.get(expert, ())
        if not hooks:
            return activation
        rows, columns = self.shape
        dense = activation.new_zeros(rows * columns, activation.shape[-1])
        dense[tokens] = activation
        mask = torch.zeros(rows * columns, dtype=torch.bool, device=dense.device)
        mask[tokens] = True
        routed = Routed(self._laid_out(mask))
        laid_out = self._laid_out(dense)
        for hook in hooks:
            edited = hook(laid_out, hook=routed)
            laid_out = laid_out if edited is None else edited
        return laid_out.reshape(dense.shape)[tokens]

    def _laid_out(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*self.shape, *tokens.shape[1:])


_LISTENERS: WeakKeyDictionary[nn.Module, _Listener] = WeakKeyDictionary()
_USUAL: dict[int, str | None] = {}
"""While somebody listens: by the id of a model's config, the experts function that is otherwise used."""


@dataclass(frozen=True, eq=False)
class Experts:
    """The experts of one layer.

    Args:
        block: the layer, whose input has the rows and columns of a feed.
        module: holds the fused parameters.
        router: of a family whose experts are not told who is sent where (Llama 4).
    """

    block: nn.Module
    module: Any
    router: nn.Module | None = None

    @property
    def number(self) -> int:
        """Count the experts."""
        return int(self.module.down_proj.shape[0])

    @property
    def width(self) -> int:
        """Count the neurons of an expert."""
        transposed = self.router is not None or self.module.is_transposed
        return int(self.module.down_proj.shape[1 if transposed else 2])

    @torch.inference_mode()
    def agrees(self) -> bool:
        """Whether the experts compute the same while somebody listens as otherwise, on random numbers."""
        weight: Tensor = self.module.down_proj
        d_model = weight.shape[2] if self.router is not None or self.module.is_transposed else weight.shape[1]
        tokens, chosen = 5, min(2, self.number)
        generator = torch.Generator().manual_seed(0)

        def drawn(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, dtype=torch.float64).to(weight.device, weight.dtype)

        if self.router is not None:
            feed = (drawn(self.number * tokens, d_model),)
        else:
            choice = drawn(tokens, self.number).topk(chosen, dim=-1).indices
            feed = (drawn(tokens, d_model), choice, drawn(tokens, chosen))
        usual: Tensor = self.module(*feed)
        listener = _Listener({0: [_same]}, (1, tokens))
        with _computing([(self, listener)]):
            heard: Tensor = self.module(*feed)
        far = float((heard - usual).abs().max()) / max(float(usual.abs().max()), 1e-30)
        return far <= _TOLERANCE.get(weight.dtype, _HALF)


def _same(activation: Tensor, hook: object) -> Tensor:
    return activation


def experts_of(block: nn.Module) -> Experts | None:
    """Find the experts of a layer; None where it has none, or none that can be reached."""
    fused = [module for module in block.modules() if isinstance(vars(module).get("is_transposed"), bool)]
    if len(fused) == 1:
        known = all(hasattr(fused[0], name) for name in ("has_gate", "has_bias", "down_proj", "config"))
        return Experts(block, fused[0]) if known else None
    named = {type(module).__name__: module for module in block.modules()}
    if "Llama4TextExperts" in named and "Llama4Router" in named:
        return Experts(block, named["Llama4TextExperts"], named["Llama4Router"])
    return None


@contextmanager
def listening(hooks: Sequence[tuple[Experts, int | None, Hook]]) -> Generator[None]:
    """Call hooks while the block runs.

    Args:
        hooks: whose experts, which of them (None for the router), and what to call.
    """
    by_layer: dict[Experts, dict[int | None, list[Hook]]] = {}
    for experts, expert, hook in hooks:
        by_layer.setdefault(experts, {}).setdefault(expert, []).append(hook)
    listeners = [(experts, _Listener(own)) for experts, own in by_layer.items()]
    with ExitStack() as stack:
        for experts, listener in listeners:
            look = partial(_look, listener)
            stack.callback(experts.block.register_forward_pre_hook(look, with_kwargs=True).remove)
        stack.enter_context(_computing(listeners))
        yield


def _look(listener: _Listener, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    residual: Tensor = args[0] if args else kwargs["hidden_states"]
    listener.shape = (residual.shape[0], residual.shape[1])


@contextmanager
def _computing(listeners: Sequence[tuple[Experts, _Listener]]) -> Generator[None]:
    """Let the layers that are listened to compute their experts by `_heard`."""
    with ExitStack() as stack:
        for experts, listener in listeners:
            if experts.router is None:
                _LISTENERS[experts.module] = listener
                stack.callback(_LISTENERS.pop, experts.module)
                config: Any = experts.module.config
                if id(config) not in _USUAL:
                    _USUAL[id(config)] = config._experts_implementation
                    stack.callback(_restore, config)
                    config._experts_implementation = _NAME
                continue
            layer = _Llama4(experts.module, listener)
            # What stands in the instance's own dictionary comes before the method of the class.
            vars(experts.module)["forward"] = layer.forward
            stack.callback(_forget, experts.module)
            stack.callback(experts.router.register_forward_hook(layer.take_scores).remove)
        yield


def _forget(module: nn.Module) -> None:
    del vars(module)["forward"]


def _restore(config: Any) -> None:
    config._experts_implementation = _USUAL.pop(id(config))


def _heard(
    module: Any,
    hidden_states: Float[Tensor, "token d_model"],
    top_k_index: Int[Tensor, "token choice"],
    top_k_weights: Float[Tensor, "token choice"],
) -> Float[Tensor, "token d_model"]:
    """Compute the experts of a layer one by one, and let who listens see, and edit, what each passes on."""
    listener = _LISTENERS.get(module)
    if listener is None:
        # Another layer of the same model: the library's own way, whose eager loop is what the class was written with.
        eager: Any = module.__class__.forward.__wrapped__
        usual: Any = _functions.get_interface(_USUAL[id(module.config)] or "eager", eager)
        return usual(module, hidden_states, top_k_index, top_k_weights)
    number = int(module.down_proj.shape[0])
    # A choice of the number after the last expert stands for none.
    weights = top_k_weights.new_zeros(len(hidden_states), number + 1).scatter(1, top_k_index, top_k_weights)
    listener.router(weights[:, :number])
    sent = {expert for expert in int_list(top_k_index.flatten()) if expert < number}
    total = torch.zeros_like(hidden_states)
    for expert in sorted(sent | {chosen for chosen in listener.hooks if chosen is not None}):
        token, choice = torch.where(top_k_index == expert)
        activation = listener.expert(expert, _activation(module, hidden_states[token], expert), token)
        written = _product(module, activation, "down_proj", expert)
        if getattr(module, "has_post_expert_norm", False):  # unknown to transformers before 5.20
            written = module.post_expert_norm(written)
        total.index_add_(0, token, (written * top_k_weights[token, choice, None]).to(total.dtype))
    return total


def _activation(module: Any, hidden: Float[Tensor, "routed d_model"], expert: int) -> Float[Tensor, "routed d"]:
    """Compute what an expert's last matrix reads: act(gate) * up, or as the family has it."""
    if module.has_gate:
        return module._apply_gate(_product(module, hidden, "gate_up_proj", expert))
    return module.act_fn(_product(module, hidden, "up_proj", expert))


def _product(module: Any, hidden: Tensor, name: str, expert: int) -> Tensor:
    weight: Tensor = getattr(module, name)[expert]
    product = hidden @ (weight if module.is_transposed else weight.T)
    return product + getattr(module, f"{name}_bias")[expert] if module.has_bias else product


@dataclass
class _Llama4:
    """The experts of Llama 4, each of which is fed every token, times its score: 0 where it is not chosen.

    Args:
        module: holds the parameters.
        listener: who listens.
        scores: [token, expert] of the router.
    """

    module: Any
    listener: _Listener
    scores: Tensor | None = field(default=None)

    def take_scores(self, router: nn.Module, args: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the router says."""
        self.scores = output[0]
        self.listener.router(output[0])

    def forward(self, hidden_states: Float[Tensor, "expert_token d_model"]) -> Float[Tensor, "expert_token d_model"]:
        """Compute every expert at every token; who listens is told of the tokens that are sent to it."""
        number, d_model, _ = self.module.gate_up_proj.shape
        fed = hidden_states.view(number, -1, d_model)
        gate, up = torch.bmm(fed, self.module.gate_up_proj).chunk(2, dim=-1)
        activation = up * self.module.act_fn(gate)
        for expert in (chosen for chosen in self.listener.hooks if chosen is not None):
            sent = fed[expert].abs().sum(dim=-1) > 0 if self.scores is None else self.scores[:, expert] > 0
            token = torch.nonzero(sent).flatten()
            activation[expert, token] = self.listener.expert(expert, activation[expert, token], token)
        return torch.bmm(activation, self.module.down_proj).view(-1, d_model)


def unreached_experts(blocks: Iterable[nn.Module]) -> str:
    """Name the class of experts that no site reaches, as a family's own that are not fused; empty where none are."""
    names = (type(module).__name__ for block in blocks for module in block.modules())
    return next((name for name in names if "Experts" in name), "")


_functions.register(_NAME, _heard)
