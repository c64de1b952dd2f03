"""How prompts are fed: through a chat template, from a named column, with a BOS that they begin with."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.replay import replay
from srm_explorer.engine.model.tokenizer import Feeding, Tokenizer
from srm_explorer.engine.session import load_session

if TYPE_CHECKING:
    from ..conftest import Lab

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SHORT: dict[str, Any] = {"generation": {"tokens": 3}, "model": {"dtype": "float32"}}


@pytest.fixture
def instruct(lab: Lab, tmp_path: Path) -> Lab:
    """The lab, with an instruct model's template beside its tokenizer."""
    folder = Path(shutil.copytree(lab.model, tmp_path / "instruct"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": TEMPLATE}))
    return dataclasses.replace(lab, model=folder)


def test_what_a_chat_template_renders_is_what_is_fed_shown_hashed_and_replayed(
    instruct: Lab, clamp: dict[str, Any]
) -> None:
    turns = [{"role": "user", "content": "Is it open?"}, {"role": "assistant", "content": "It"}]
    (instruct.folder / "chat.jsonl").write_text(json.dumps({"messages": turns, "level": 3}))
    prompts = {"sets": ["texts.txt", "chat.jsonl"], "limit": 5, "chat_template": True, "system": "Be brief."}
    experiment = instruct.experiment(clamp, prompts={**prompts, "prepend_bos": "auto"}, **SHORT)
    outcome = instruct.run(experiment)
    session = load_session(instruct.path())
    first, last = session.prompts[0], session.prompts[-1]
    assert first.text == "<|endoftext|><system>Be brief.\n<user>The man opened the door\n<assistant>"
    assert last.text == "<|endoftext|><system>Be brief.\n<user>Is it open?\n<assistant>It"
    assert dict(last.factors) == {"level": "3"}
    tokenizer = Tokenizer.load(str(instruct.model), None, stop_ids=frozenset())
    assert list(first.token_ids) == tokenizer.encode_prompt(
        "The man opened the door", Feeding("auto", True, "Be brief.")
    )
    assert [line for line in outcome.notes if "the model goes on with it" in line]
    (instruct.folder / "texts.txt").unlink()
    (instruct.folder / "chat.jsonl").unlink()
    assert replay(session, instruct.folder).bit_equal


def test_messages_are_rendered_and_plain_texts_are_not_unless_that_is_asked_for(instruct: Lab) -> None:
    (instruct.folder / "chat.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "Hello"}]}))
    session = instruct.session(instruct.experiment(prompts={"sets": ["texts.txt", "chat.jsonl"]}, **SHORT))
    assert session.prompts[0].text == "The man opened the door"
    assert session.prompts[-1].text == "<|endoftext|><user>Hello\n<assistant>"


def test_a_model_without_a_template_is_named_with_the_prompt(lab: Lab) -> None:
    with pytest.raises(ExplorerError, match=r"texts\.txt:1: this model has no chat template") as caught:
        lab.run(lab.experiment(prompts={"chat_template": True}, **SHORT))
    assert caught.value.where.startswith("prompts.chat_template")
    assert not lab.path().exists()


def test_a_prompt_that_begins_with_the_bos_is_told_of_once(lab: Lab) -> None:
    lab.prompts("<|endoftext|>Two", "<|endoftext|>Three", "Four")
    outcome = lab.run(lab.experiment(prompts={"prepend_bos": "once"}, **SHORT))
    assert outcome.session is not None
    end = outcome.session.prompts[0].token_ids[0]
    assert [list(prompt.token_ids).count(end) for prompt in outcome.session.prompts] == [1, 1, 1]
    assert [line for line in outcome.notes if "2 prompts begin with `<|endoftext|>`" in line]
    twice = lab.run(lab.experiment(prompts={"prepend_bos": True}, **SHORT), "b")
    assert twice.session is not None
    assert list(twice.session.prompts[0].token_ids[:3]).count(end) == 2
    assert [line for line in twice.notes if "one more is put before it" in line]


def test_the_column_of_an_experiment_names_what_is_fed(lab: Lab) -> None:
    (lab.folder / "asked.csv").write_text("question,kind\nIs it open?,door\n")
    session = lab.session(lab.experiment(prompts={"sets": ["asked.csv"], "text": "question"}, **SHORT))
    assert [(prompt.text, dict(prompt.factors)) for prompt in session.prompts] == [("Is it open?", {"kind": "door"})]
    with pytest.raises(ExplorerError, match=r'prompts\.text = "question"'):
        lab.run(lab.experiment(prompts={"sets": ["asked.csv"]}, **SHORT), "b")
