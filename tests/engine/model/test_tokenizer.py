from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.tokenizer import Tokenizer

END = 599


@pytest.fixture
def begins_with_bos(tiny_gpt2_folder: Path, tmp_path: Path) -> Tokenizer:
    """The tiny tokenizer, made to begin every text with its BOS, as Llama's does."""
    folder = Path(shutil.copytree(tiny_gpt2_folder, tmp_path / "bos"))
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", END)])
    backend.save(str(folder / "tokenizer.json"))
    return Tokenizer.load(str(folder), None, stop_ids=frozenset())


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
