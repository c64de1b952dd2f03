from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.experiment.half_characters import joined
from srm_explorer.engine.experiment.positions import TokenChoice, find_positions
from srm_explorer.engine.figures.captions import token_caption
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.tokenizer import LOST, Feeding, Tokenizer

END = 599


def framed(source: Path, folder: Path, single: str, **config: object) -> Tokenizer:
    """The tiny tokenizer, made to frame every text as a template says."""
    shutil.copytree(source, folder)
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    specials = ["<|endoftext|>", "[gMASK]", "<sop>", "</s>"]
    backend.add_special_tokens([AddedToken(token, special=True) for token in specials])
    ids = [(token, backend.token_to_id(token)) for token in specials]
    backend.post_processor = TemplateProcessing(
        single=single, special_tokens=[pair for pair in ids if pair[0] in single]
    )
    backend.save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return Tokenizer.load(str(folder), None, stop_ids=frozenset())


@pytest.fixture
def begins_with_bos(tiny_gpt2_folder: Path, tmp_path: Path) -> Tokenizer:
    """The tiny tokenizer, made to begin every text with its BOS, as Llama's does."""
    return framed(tiny_gpt2_folder, tmp_path / "bos", "<|endoftext|> $A")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_text_survives_the_way_through_the_ids(tiny_gpt2: LoadedModel, text: str) -> None:
    tokenizer = tiny_gpt2.tokenizer
    ids = tokenizer.encode(text, prepend_bos=False)
    assert tokenizer.decode(ids) == text
    assert all(0 <= i < 600 for i in ids)


def test_bos_is_prepended_as_asked_and_by_default_as_the_tokenizer_does(
    tiny_gpt2: LoadedModel, begins_with_bos: Tokenizer
) -> None:
    for tokenizer, prepends in ((tiny_gpt2.tokenizer, False), (begins_with_bos, True)):
        bare = tokenizer.encode("The door", prepend_bos=False)
        assert END not in bare
        assert tokenizer.encode("The door", prepend_bos=True) == [END, *bare]
        assert tokenizer.encode("The door", prepend_bos="auto") == ([END, *bare] if prepends else bare)


def test_a_tokenizer_without_bos_says_so(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_gpt2_folder, tmp_path / "plain"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bos_token": None}))
    tokenizer = Tokenizer.load(str(folder), None, stop_ids=frozenset())
    with pytest.raises(ExplorerError, match="no BOS token"):
        tokenizer.encode("x", prepend_bos=True)
    assert tokenizer.encode("x", prepend_bos="auto") == tokenizer.encode("x", prepend_bos=False)


def test_the_end_of_text_is_a_stop(tiny_gpt2: LoadedModel, begins_with_bos: Tokenizer) -> None:
    assert END in tiny_gpt2.tokenizer.stop_ids
    assert END in begins_with_bos.stop_ids


def test_the_hash_is_that_of_how_text_is_split(
    tiny_gpt2: LoadedModel, tiny_llama: LoadedModel, begins_with_bos: Tokenizer
) -> None:
    assert tiny_gpt2.tokenizer.sha256() == tiny_llama.tokenizer.sha256()
    assert tiny_gpt2.tokenizer.sha256() != begins_with_bos.sha256()


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize("single", ["$A", "<|endoftext|> $A", "[gMASK] <sop> $A", "<|endoftext|> $A </s>", "$A </s>"])
def test_auto_is_the_untouched_tokenizer_but_for_a_beginning_that_the_text_has(
    tiny_gpt2_folder: Path, tmp_path: Path, single: str
) -> None:
    tokenizer = framed(tiny_gpt2_folder, tmp_path / "framed", single)
    start = "".join(single.partition("$A")[0].split())
    for text in ("The door", " a", "", "It is <|endoftext|> late"):
        assert tokenizer.encode(text, "auto") == tokenizer.raw(text)["input_ids"]
        assert tokenizer.encode(start + text, "auto") == tokenizer.encode(text, "auto")
        assert tokenizer.encode(text, False) == tokenizer.raw(text, add_special_tokens=False)["input_ids"]
    (*_, remark) = tokenizer.remarks(["a"], Feeding("auto")) or [""]
    assert ("</s>" in remark) == ("</s>" in single)


def test_a_bos_that_a_prompt_begins_with_is_doubled_only_where_that_is_asked_for(begins_with_bos: Tokenizer) -> None:
    text = "<|endoftext|>The door"
    bare = begins_with_bos.encode("The door", False)
    for policy, ids, says in (
        ("auto", [END, *bare], "not added a second time"),
        ("once", [END, *bare], "not added a second time"),
        (True, [END, END, *bare], "one more is put before it"),
        (False, [END, *bare], None),
    ):
        assert begins_with_bos.encode(text, policy) == ids
        assert begins_with_bos.encode("The door", policy) == ([END, *bare] if policy else bare)
        told = begins_with_bos.remarks([text, text, "plain"], Feeding(policy))
        assert len(told) == (says is not None), "once for the whole set"
        if says:
            assert says in told[0]
            assert told[0].startswith("2 prompts begin with `<|endoftext|>`")
        assert not begins_with_bos.remarks(["plain"], Feeding(policy))


def test_a_model_that_is_loaded_leaves_its_tokenizer_as_it_was(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_gpt2_folder, tmp_path / "no-bos"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bos_token": None}))
    loaded = load_model(ModelSpec(name=str(folder), device="cpu")).tokenizer
    alone = Tokenizer.load(str(folder), None, stop_ids=frozenset())
    assert loaded.raw.bos_token is None
    assert loaded.sha256() == alone.sha256()
    for policy in (True, "once"):
        with pytest.raises(ExplorerError, match="no BOS token"):
            loaded.encode("The door", policy)
    assert loaded.encode("The door", "auto") == alone.raw("The door")["input_ids"]


def test_a_tokenizer_whose_additions_depend_on_the_text_is_refused_under_auto_by_name(tiny_gpt2: LoadedModel) -> None:
    class Moody:
        bos_token_id = None

        def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
            ids = [ord(c) for c in text]
            return {"input_ids": [*ids, len(ids)] if add_special_tokens else ids}

    tokenizer = Tokenizer(Moody(), frozenset())
    assert tokenizer.encode("ab", False) == [97, 98]
    with pytest.raises(ExplorerError, match="Moody adds other tokens"):
        tokenizer.encode("ab", "auto")


@pytest.fixture
def chats(tiny_gpt2_folder: Path, tmp_path: Path) -> Tokenizer:
    return framed(tiny_gpt2_folder, tmp_path / "chat", "<|endoftext|> $A", chat_template=TEMPLATE)


def test_a_rendered_prompt_is_what_the_template_writes_and_never_has_two_bos(chats: Tokenizer) -> None:
    turns = (("system", "Be brief."), ("user", "Is it open?"))
    messages = [{"role": role, "content": content} for role, content in turns]
    known = chats.raw.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    for policy in ("auto", "once", True, False):
        assert chats.encode_prompt(turns, Feeding(policy)) == known
        assert chats.encode_prompt("Is it open?", Feeding(policy, True, "Be brief.")) == known
        assert chats.encode_prompt("<|endoftext|>Is it open?", Feeding(policy, True, "Be brief.")) == known
        assert known.count(END) == 1
    assert chats.encode_prompt(turns, Feeding(system="Another.")) == known, "a conversation keeps its own"
    assert chats.decode(known) == "<|endoftext|><system>Be brief.\n<user>Is it open?\n<assistant>"
    assert chats.encode_prompt("Is it open?", Feeding()) == chats.encode("Is it open?", "auto")


def test_a_template_without_bos_gets_one_only_where_it_is_asked_for(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    template = TEMPLATE.replace("{{ bos_token }}", "")
    chats = framed(tiny_gpt2_folder, tmp_path / "chat", "<|endoftext|> $A", chat_template=template)
    bare = chats.encode("<user>a\n<assistant>", False)
    assert [chats.encode_prompt("a", Feeding(policy, True)) for policy in ("auto", False)] == [bare, bare]
    assert [chats.encode_prompt("a", Feeding(policy, True)) for policy in ("once", True)] == [[END, *bare]] * 2


def test_the_assistants_own_beginning_is_gone_on_with_and_said(chats: Tokenizer) -> None:
    turns = (("user", "Is it open?"), ("assistant", "It is"))
    assert chats.render(turns) == "<|endoftext|><user>Is it open?\n<assistant>It is"
    assert "the model goes on with it" in chats.remarks([turns], Feeding())[0]
    assert "system does not reach plain texts" in chats.remarks(["a"], Feeding(system="Be brief."))[0]
    assert "chat template is left to write it" in chats.remarks(["<|endoftext|>a"], Feeding(chat_template=True))[0]


def test_no_template_and_a_conversation_it_refuses_are_one_line(tiny_gpt2: LoadedModel, chats: Tokenizer) -> None:
    with pytest.raises(ExplorerError, match="no chat template"):
        tiny_gpt2.tokenizer.encode_prompt("a", Feeding(chat_template=True))
    with pytest.raises(ExplorerError, match="refuses this conversation: no tools"):
        chats.encode_prompt((("tool", "a"),), Feeding())


def test_what_stands_behind_a_text_keeps_the_space_it_begins_with() -> None:
    """As in tokenizers of Llama 2, whose `decode` takes the first space of whatever it is given for their own."""
    words = ["<unk>", "▁yes", "yes", "▁the", "▁door", "."]
    backend = Backend(models.Unigram([(word, -float(len(words) - at)) for at, word in enumerate(words)], 0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"), frozenset())
    assert tokenizer.decode([1]) == tokenizer.decode([2]) == "yes"
    assert [tokenizer.piece(token) for token in (1, 2)] == [" yes", "yes"]
    assert tokenizer.continuation([3, 4], [1, 5]) == " yes."
    assert tokenizer.decode([3, 4]) + tokenizer.continuation([3, 4], [2, 5, 3]) == tokenizer.decode([3, 4, 2, 5, 3])
    assert tokenizer.continuation([], [1]) == "yes"


def test_ids_beyond_the_tokenizer_are_shown_as_numbers(tiny_gpt2: LoadedModel) -> None:
    tokenizer = tiny_gpt2.tokenizer
    beyond = len(tokenizer.raw)
    ids = tokenizer.encode("a door", False)
    assert tokenizer.decode([*ids, beyond, beyond + 7, *ids]) == f"a door[{beyond}][{beyond + 7}]a door"
    assert tokenizer.pieces([*ids, beyond])[-1] == f"[{beyond}]"
    assert tokenizer.decode([]) == ""
    assert [token_caption(beyond, tokenizer.decode([beyond])), token_caption(7, " a")] == [f"#{beyond}", "' a'"]


def test_prompts_of_which_the_ids_are_no_record_are_remarked_with_where_they_part() -> None:
    backend = Backend(models.WordLevel({"<unk>": 0, "the": 1, "door": 2, "opened": 3}, unk_token="<unk>"))
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"), frozenset())
    feeding = Feeding(prepend_bos=False)
    assert tokenizer.remarks(["the door", " the  door opened"], feeding) == []
    (unknown,) = tokenizer.remarks(["the door", "the door opened → the"], feeding)
    assert unknown.startswith("a prompt is not fed as it is written, ")
    assert unknown.endswith("`door opened → the` becomes `door opened <unk> the`")
    (lowered,) = tokenizer.remarks(["The door", "the Door"], feeding)
    assert lowered.startswith("2 prompts are not fed as they are written, ")
    assert lowered.endswith("`The door` becomes `the door`")


def test_ids_in_a_gap_between_tokens_are_shown_as_numbers_and_tokens_behind_it_as_their_text() -> None:
    backend = Backend(models.WordLevel({"<unk>": 0, "yes": 1, "no": 7, "</s>": 8}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    raw = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")
    tokenizer = Tokenizer(raw, frozenset([8]), n_vocab=9)
    assert [tokenizer.piece(token) for token in (1, 5, 7, 8, 9)] == [" yes", "[5]", " no", " </s>", "[9]"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=12).filter(lambda text: "<0x" not in text))
def test_tokens_that_are_no_whole_characters_are_their_bytes_which_join_to_the_text(
    tiny_gpt2: LoadedModel, text: str
) -> None:
    tokenizer = tiny_gpt2.tokenizer
    ids = tokenizer.encode(text, prepend_bos=False)
    pieces = tokenizer.pieces(ids)
    assert joined("".join(pieces)) == text
    assert find_positions(TokenChoice(text), pieces).at == tuple(range(len(ids)))
    for at in range(len(ids)):
        there = tokenizer.character(ids, at)
        assert at in there
        shown = tokenizer.decode(ids[there.start : there.stop])
        assert shown == joined("".join(pieces[there.start : there.stop]))
        assert LOST not in shown.replace(LOST if LOST in text else "", "")


def test_bytes_are_shown_alike_whatever_a_vocabulary_calls_them(tiny_gpt2: LoadedModel) -> None:
    byte_level = tiny_gpt2.tokenizer
    ids = byte_level.encode("a😀", prepend_bos=False)
    assert byte_level.pieces(ids)[-4:] == ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"], "it knows no emoji"
    assert byte_level.piece(ids[-1]) == "<0x80>"
    assert byte_level.shown(ids[:-2], ids[-2:]) == "<0x98><0x80>"
    assert byte_level.continuation(ids[:-2], ids[-2:]) == byte_level.decode(ids[-2:]), "a run's text stays as decoded"
    assert token_caption(ids[-1], byte_level.piece(ids[-1])) == "'<0x80>'"
    named = {f"<0x{byte:02X}>": at for at, byte in enumerate("😀".encode())}
    backend = Backend(models.BPE({**named, "a": 4, LOST: 5, "\u2581": 6}, [], byte_fallback=True, unk_token=LOST))
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    fallback = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend), frozenset())
    assert fallback.pieces([4, 0, 1, 2, 3, 5]) == ["a", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", LOST]
    assert fallback.character([4, 0, 1, 2, 3, 4], 2) == range(1, 5)
    assert fallback.character([4, 0, 1, 4], 2) == range(2, 3)


def test_an_id_beyond_the_model_is_refused_wherever_it_comes_from(tiny_gpt2: LoadedModel) -> None:
    """A tokenizer with more ids than the model has rows of its embedding."""
    raw = tiny_gpt2.tokenizer.raw
    last = raw("door", add_special_tokens=False)["input_ids"][-1]
    short = Tokenizer(raw, frozenset(), n_vocab=last)
    for ask in (
        lambda: short.encode("door", False),
        lambda: short.encode_prompt("door", Feeding(False)),
        lambda: short.token_id(short.decode([last])),
    ):
        with pytest.raises(ExplorerError, match=f"the tokenizer gives id .*, the model knows {last} ids"):
            ask()
    assert tiny_gpt2.tokenizer.n_vocab == tiny_gpt2.n_vocab
