"""From text to token ids and back: ids only go into the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import AutoTokenizer

from srm_explorer.engine.errors import ExplorerError


@dataclass(frozen=True)
class Tokenizer:
    """A model's tokenizer, as Hugging Face has it.

    Args:
        raw: the Hugging Face tokenizer.
        stop_ids: ids that end a text.
        prepends_bos: whether the untouched tokenizer begins a text with its BOS token: what "auto" does.
    """

    raw: Any
    stop_ids: frozenset[int]
    prepends_bos: bool

    @classmethod
    def load(cls, source: str, revision: str | None, *, stop_ids: frozenset[int]) -> Tokenizer:
        """Load the tokenizer of a model.

        Raises:
            ExplorerError: there is none that can be loaded without running code.
        """
        try:
            library: Any = AutoTokenizer
            raw: Any = library.from_pretrained(
                source, revision=revision, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ExplorerError(
                f"its tokenizer cannot be loaded: {first[:200]}",
                where=source,
                remedy="save the tokenizer beside the model (tokenizer.save_pretrained)",
            ) from error
        # Without its files the library hands out an empty tokenizer and says nothing.
        first_ids: list[int] = raw("a")["input_ids"]
        if not first_ids or raw.vocab_size < 2:
            raise ExplorerError(
                "there is no tokenizer",
                where=source,
                remedy="save the tokenizer beside the model (tokenizer.save_pretrained)",
            )
        if isinstance(raw.eos_token_id, int):
            stop_ids = stop_ids | {raw.eos_token_id}
        prepends = raw.bos_token_id is not None and first_ids[:1] == [raw.bos_token_id]
        return cls(raw, stop_ids, prepends)

    def encode(self, text: str, prepend_bos: bool | Literal["auto"]) -> list[int]:
        """Turn a prompt into ids; with no BOS the bare text is fed.

        Raises:
            ExplorerError: a BOS is asked for and the tokenizer has none.
        """
        ids: list[int] = self.raw(text, add_special_tokens=False)["input_ids"]
        wanted = self.prepends_bos if prepend_bos == "auto" else prepend_bos
        if not wanted:
            return ids
        if self.raw.bos_token_id is None:
            raise ExplorerError(
                "this tokenizer has no BOS token", where="prompts.prepend_bos", remedy="set it to false or 'auto'"
            )
        return [self.raw.bos_token_id, *ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, special tokens included, spaces untouched."""
        return self.raw.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each id as it stands behind another: a space that begins a word is part of it."""
        if not ids:
            return []
        before = self.decode(ids[:1])
        # Alone, a token of some tokenizers loses its space.
        pairs = [self.decode([ids[0], token]) for token in ids[1:]]
        behind = [
            pair.removeprefix(before) if pair.startswith(before) else self.decode([token])
            for token, pair in zip(ids[1:], pairs, strict=True)
        ]
        return [before, *behind]

    def sha256(self) -> str:
        """Hash what decides how text is split: vocabulary, merges, special tokens."""
        backend = getattr(self.raw, "backend_tokenizer", None)
        state = backend.to_str() if backend is not None else json.dumps(self.raw.get_vocab(), sort_keys=True)
        return hashlib.sha256(state.encode()).hexdigest()
