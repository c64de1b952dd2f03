"""From text to token ids and back: ids only go into the model."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jinja2 import TemplateError
from transformers import AutoTokenizer

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.fields import Bos
from srm_explorer.engine.experiment.half_characters import joined, written
from srm_explorer.engine.model.hub import fetch_model
from srm_explorer.engine.prompts import Turns
from srm_explorer.engine.prompts.prompt_set import shown


class SaysFeeding(Protocol):
    """Says how prompts become ids: `PromptsSpec` does, and a question to the worker."""

    @property
    def prepend_bos(self) -> Bos: ...
    @property
    def chat_template(self) -> bool: ...
    @property
    def system(self) -> str | None: ...


@dataclass(frozen=True)
class Feeding:
    """How prompts become ids, where no experiment says it."""

    prepend_bos: Bos = "auto"
    chat_template: bool = False
    system: str | None = None


@dataclass(frozen=True)
class Tokenizer:
    """A model's tokenizer, as Hugging Face has it.

    What it is when nobody has changed it is noted as it is made: the bridge gives a tokenizer without a BOS its
    end-of-text for one.

    Args:
        raw: the Hugging Face tokenizer.
        stop_ids: ids that end a text.
        n_vocab: how many ids the model has an embedding for; None without a model.
    """

    raw: Any
    stop_ids: frozenset[int]
    n_vocab: int | None = None
    bos_id: int | None = field(init=False)
    frame: tuple[tuple[int, ...], tuple[int, ...]] | None = field(init=False)
    """Ids that the untouched tokenizer puts before and behind every text; None where that depends on the text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bos_id", self.raw.bos_token_id)
        object.__setattr__(self, "frame", _frame(self.raw))

    @functools.cached_property
    def _known(self) -> frozenset[int]:
        """Ids that are a token's: those behind a gap are as many places further on than the tokens are."""
        return frozenset(self.raw.get_vocab().values())

    @property
    def prepends_bos(self) -> bool:
        """Whether the untouched tokenizer begins a text with its BOS."""
        return self.frame is not None and self.bos_id is not None and self.frame[0][:1] == (self.bos_id,)

    @classmethod
    def load(
        cls, source: str, revision: str | None, *, stop_ids: frozenset[int], n_vocab: int | None = None
    ) -> Tokenizer:
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
        return cls(raw, stop_ids, n_vocab)

    def encode(self, text: str, prepend_bos: Bos) -> list[int]:
        """Turn a text into ids.

        Args:
            text: what is fed, exactly.
            prepend_bos: `auto` gives the ids of the untouched tokenizer, but for a beginning that the text already
                has; `once` adds a BOS unless the text begins with it, True always, False never.

        Raises:
            ExplorerError: a BOS is asked for and the tokenizer has none, what it adds by itself cannot be told, or an
                id that the model does not know.
        """
        return self._checked(self._encoded(text, prepend_bos))

    def _encoded(self, text: str, prepend_bos: Bos) -> list[int]:
        ids = self._bare(text)
        if prepend_bos == "auto":
            if self.frame is None:
                raise ExplorerError(
                    f"{type(self.raw).__name__} adds other tokens to one text than to another",
                    where="prompts.prepend_bos",
                    remedy="set it to true, false or 'once'",
                )
            before, behind = self.frame
            return [*(() if _begins_with(ids, before) else before), *ids, *behind]
        if not prepend_bos:
            return ids
        if self.bos_id is None:
            raise ExplorerError(
                "this tokenizer has no BOS token", where="prompts.prepend_bos", remedy="set it to false or 'auto'"
            )
        return ids if prepend_bos == "once" and ids[:1] == [self.bos_id] else [self.bos_id, *ids]

    def encode_prompt(self, content: str | Turns, feeding: SaysFeeding) -> list[int]:
        """Turn a prompt into ids: a text as it is or through the chat template, a conversation through it.

        A rendered prompt never has two BOS: `auto` and False feed what the template writes, `once` and True see to it
        that it begins with one.

        Raises:
            ExplorerError: as `encode` and `render`.
        """
        if isinstance(content, str) and not feeding.chat_template:
            return self.encode(content, feeding.prepend_bos)
        ids = self._checked(self._bare(self.render(content, feeding.system)))
        if self.bos_id is None:
            return ids if feeding.prepend_bos in ("auto", False) else self.encode("", feeding.prepend_bos)
        while ids[:2] == [self.bos_id, self.bos_id]:
            del ids[0]
        return [self.bos_id, *ids] if feeding.prepend_bos in (True, "once") and ids[:1] != [self.bos_id] else ids

    def render(self, content: str | Turns, system: str | None = None) -> str:
        """Write a conversation, or a text as the user's message, by the model's own chat template.

        The assistant's turn is opened behind it; where the last message is the assistant's own, that one is gone on
        with. `system` comes first where the conversation has no system message. A BOS that a message begins with is
        left to the template.

        Raises:
            ExplorerError: there is no template, or it refuses the conversation.
        """
        turns = (("user", content),) if isinstance(content, str) else content
        if system is not None and all(role != "system" for role, _ in turns):
            turns = (("system", system), *turns)
        if not getattr(self.raw, "chat_template", None):
            raise ExplorerError(
                "this model has no chat template",
                where="prompts.chat_template",
                remedy="choose an instruct model, or leave chat_template and sets of messages out",
            )
        bos: str = self.raw.bos_token if self.bos_id is not None else ""
        messages = [{"role": role, "content": text.removeprefix(bos)} for role, text in turns]
        goes_on = turns[-1][0] == "assistant"
        try:
            return self.raw.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on
            )
        except (TemplateError, ValueError, TypeError, LookupError, ImportError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ExplorerError(
                f"the chat template refuses this conversation: {first[:200]}",
                where="prompts.chat_template",
                remedy="leave prompts.system out, or write the messages as the model's card has them",
            ) from None

    def remarks(self, contents: Sequence[str | Turns], feeding: SaysFeeding) -> list[str]:
        """Say, once for all prompts of a set, what its reader would not expect of the ids they become."""
        noted: list[str] = []
        rendered = [isinstance(content, tuple) or feeding.chat_template for content in contents]
        plain = [content for content, is_chat in zip(contents, rendered, strict=True) if not is_chat]
        before, behind = self.frame or ((), ())
        start = before or (() if self.bos_id is None else (self.bos_id,))
        begin = sum(_begins_with(self._bare(str(text)), start) for text in plain) if start else 0
        many = f"{begin:,} prompts begin" if begin > 1 else "a prompt begins"
        name = f"`{self.decode(start)}`"
        if begin and feeding.prepend_bos in ("auto", "once"):
            noted.append(f"{many} with {name}: it is not added a second time (prepend_bos = {feeding.prepend_bos!r})")
        elif begin and feeding.prepend_bos:
            noted.append(f"{many} with {name} and one more is put before it: prepend_bos = 'once' feeds one")
        if plain and behind and feeding.prepend_bos == "auto":
            added = f"the tokenizer adds `{self.decode(behind)}` behind every prompt, and the model writes on after it"
            noted.append(f"{added}: prepend_bos = 'once' or false leaves it out")
        noted += self._remarks_of_altered([str(text) for text in plain])
        if plain and feeding.system is not None:
            noted.append("prompts.system does not reach plain texts: chat_template = true renders them too")
        if any(rendered):
            noted += self._remarks_of_template(
                [content for content, is_chat in zip(contents, rendered, strict=True) if is_chat]
            )
        return noted

    def _remarks_of_altered(self, texts: Sequence[str]) -> list[str]:
        """Say which texts the ids do not stand for: characters that it does not know, or turns into others."""
        altered = [(text, fed) for text in texts if _unspaced(fed := self.decode(self._bare(text))) != _unspaced(text)]
        if not altered:
            return []
        written, fed = (side.strip() for side in altered[0])
        alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(written, fed, strict=False)))
        start = max(0, alike - _BEFORE)
        which = f"{shown(written[start:])} becomes {shown(fed[start:])}"
        count = len(altered)
        many = f"{count:,} prompts are not fed as they are" if count > 1 else "a prompt is not fed as it is"
        return [f"{many} written, for this tokenizer alters some characters or does not know them: {which}"]

    def _remarks_of_template(self, contents: Sequence[str | Turns]) -> list[str]:
        noted: list[str] = []
        bos: str = self.raw.bos_token if self.bos_id is not None else ""
        texts = [[content] if isinstance(content, str) else [text for _, text in content] for content in contents]
        if bos and (begin := sum(any(text.startswith(bos) for text in several) for several in texts)):
            many = f"{begin:,} prompts have messages that begin" if begin > 1 else "a prompt has a message that begins"
            noted.append(f"{many} with `{bos}`: the chat template is left to write it")
        if ends := sum(isinstance(content, tuple) and content[-1][0] == "assistant" for content in contents):
            many = f"{ends:,} conversations end" if ends > 1 else "a conversation ends"
            noted.append(f"{many} with the assistant's message: the model goes on with it")
        if "strftime_now" in str(self.raw.chat_template):
            noted.append("the chat template writes today's date into the prompts: the ids differ from day to day")
        return noted

    def _checked(self, ids: list[int]) -> list[int]:
        if self.n_vocab is not None and ids and max(ids) >= self.n_vocab:
            raise ExplorerError(
                f"the tokenizer gives id {max(ids)}, the model knows {self.n_vocab} ids",
                remedy="put the tokenizer that belongs to the model beside it",
            )
        return ids

    def _bare(self, text: str) -> list[int]:
        return self.raw(text, add_special_tokens=False)["input_ids"]

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, special tokens included, spaces untouched; an id that is no token's, as "[50300]".

        A model's vocabulary may be padded, behind its tokens or between them: ids that no text has can be written all
        the same.
        """
        parts: list[str] = []
        for is_token, run in itertools.groupby(ids, self._known.__contains__):
            if is_token:
                parts.append(self.raw.decode(list(run), skip_special_tokens=False, clean_up_tokenization_spaces=False))
            else:
                parts += [f"[{token}]" for token in run]
        return "".join(parts)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each id as it stands behind another: a space that begins a word is part of it.

        Of an id that begins or ends within a character, what is none is shown as its bytes, `<0xF0><0x9F>`: joined,
        see `half_characters.joined`, they are the text again.
        """
        pieces = self._decoded_pieces(ids)
        return [
            written(self._bytes(token, text)) if LOST in text else text for token, text in zip(ids, pieces, strict=True)
        ]

    def _bytes(self, token: int, text: str) -> bytes:
        """What an id adds to the bytes of a text; `text` is what it is decoded to behind another."""
        if LOST not in text:
            return text.encode()
        name: object = self.raw.convert_ids_to_tokens(token)
        if isinstance(name, bytes):
            return name
        if byte := re.fullmatch("<0x([0-9A-F]{2})>", str(name)):
            return bytes.fromhex(byte[1])
        known = _byte_alphabet()
        return bytes(known[sign] for sign in str(name)) if known.keys() >= set(str(name)) else text.encode()

    def _decoded_pieces(self, ids: Sequence[int]) -> list[str]:
        if not ids:
            return []
        # Alone, a token of some tokenizers loses its space; behind half a character, what it adds cannot be told.
        first = next((token for token in ids if LOST not in self.decode([token])), None)
        before = "" if first is None else self.decode([first])
        pairs = [self.decode([token] if first is None else [first, token]) for token in ids[1:]]
        behind = [
            pair.removeprefix(before) if pair.startswith(before) else self.decode([token])
            for token, pair in zip(ids[1:], pairs, strict=True)
        ]
        return [self.decode(ids[:1]), *behind]

    def piece(self, token: int) -> str:
        """Return the text of one id as it stands behind another; see `pieces`."""
        return self.pieces([token, token])[1]

    def continuation(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """Return what ids add to a text: alone, those of some tokenizers lose the space that they begin with."""
        last = list(before[-1:])
        start, whole = self.decode(last), self.decode([*last, *ids])
        is_whole = whole.startswith(start) and not start.endswith(LOST)
        return whole.removeprefix(start) if is_whole else self.decode(ids)

    def shown(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """The same for people: bytes of no whole character as `pieces` has them; the text of a run is as decoded."""
        text, last = self.continuation(before, ids), list(before[-1:])
        return text if LOST not in text else joined("".join(self.pieces([*last, *ids])[len(last) :]))

    def character(self, ids: Sequence[int], at: int) -> range:
        """The places of the ids that make a character together with the one at a place, that alone where it is whole.

        A character has four bytes at most, and so as many ids.
        """
        begins = range(at, max(-1, at - _MOST_IDS), -1)
        ends = range(at + 1, min(len(ids), at + _MOST_IDS) + 1)
        spans = [range(begin, end) for begin in begins for end in ends if end - begin <= _MOST_IDS]
        whole = (span for span in sorted(spans, key=len) if LOST not in self.decode(ids[span.start : span.stop]))
        return next(whole, range(at, at + 1))

    def token_id(self, text: str) -> int:
        """Find the one id whose text, behind another token, is exactly this, spaces included.

        Some tokenizers put a space before whatever they are given: the id is taken from where the text stands behind
        another.

        Raises:
            ExplorerError: it is no single token, with the tokens that it is; or one that the model does not know.
        """
        known = self._behind_others(text)
        for ids in known:
            if len(ids) == 1:
                return self._checked(ids)[0]
        ids = min(known, key=len, default=self._bare(text))
        parts = ", ".join(repr(piece) for piece in self.pieces(ids))
        other = text.lstrip(" ") if text.startswith(" ") else f" {text}"
        near = any(len(ids) == 1 for ids in self._behind_others(other)) if other else False
        but = f"not one token of this model but {len(ids)}" if len(ids) > 1 else "no token of this model, which reads"
        raise ExplorerError(
            f"{text!r} is {but}: {parts}",
            remedy=f"{other!r} is one token" if near else "choose a text that is one token, spaces included",
        )

    def _behind_others(self, text: str) -> list[list[int]]:
        """The ids that a text becomes, alone and behind some tokens, as far as they are the text and nothing else."""
        known: list[list[int]] = []
        for before in ("", "a", ".", "0", "\n"):
            start = self._bare(before) if before else []
            ids = self._bare(before + text)
            rest = ids[len(start) :]
            if (
                ids[: len(start)] == start
                and rest
                and joined("".join(self.pieces([self._bare("a")[-1], *rest])[1:])) == text
            ):
                known.append(rest)
        return known

    def sha256(self) -> str:
        """Hash what decides how text is split: vocabulary, merges, special tokens."""
        backend = getattr(self.raw, "backend_tokenizer", None)
        state = backend.to_str() if backend is not None else json.dumps(self.raw.get_vocab(), sort_keys=True)
        return hashlib.sha256(state.encode()).hexdigest()


LOST = "\ufffd"
"""Stands, in what ids are decoded to, for bytes that make no whole character."""

_MOST_IDS = 4


@functools.cache
def _byte_alphabet() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for (Radford et al. 2019).

    Signs that Latin-1 can print stand for themselves; the other bytes, in order, are those from U+0100 on.
    """
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + at): byte for at, byte in enumerate(others)}


_BEFORE = 12
"""Characters that are shown before the first that is another."""


def _unspaced(text: str) -> str:
    """A text without blanks, of which some tokenizers drop or add some."""
    return "".join(text.split())


def _begins_with(ids: Sequence[int], start: Sequence[int]) -> bool:
    return bool(start) and list(ids[: len(start)]) == list(start)


def _frame(raw: Callable[..., Any]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The ids a tokenizer puts before and behind a text, where they are the same for two texts."""
    frames: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    for text in ("a", "The door, 12"):
        bare: list[int] = raw(text, add_special_tokens=False)["input_ids"]
        whole: list[int] = raw(text)["input_ids"]
        starts = range(len(whole) - len(bare) + 1)
        start = next((at for at in starts if whole[at : at + len(bare)] == bare), None)
        if start is None:
            return None
        frames.add((tuple(whole[:start]), tuple(whole[start + len(bare) :])))
    return frames.pop() if len(frames) == 1 else None


def load_tokenizer(name: str) -> Tokenizer:
    """Load a tokenizer alone: of a model by its name or folder, or of a folder or `tokenizer.json` without a model.

    Raises:
        ExplorerError: there is none, or it cannot be loaded without running code.
    """
    folder = paths.expanded(Path(name))
    folder = folder.parent if folder.name == "tokenizer.json" else folder
    if any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json")):
        return Tokenizer.load(str(folder), None, stop_ids=frozenset())
    found = fetch_model(name, only_tokenizer=True)
    return Tokenizer.load(str(found.folder), None, stop_ids=frozenset())
