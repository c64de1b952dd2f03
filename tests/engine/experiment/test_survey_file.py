from __future__ import annotations

from pathlib import Path

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import read_experiment
from srm_explorer.engine.experiment.survey_file import neurons_given, survey_overrides


@pytest.mark.parametrize(
    ("content", "neurons"),
    [
        ("373\n2202\n\n373\n", "373, 2202"),
        ("11 373\n10\t5 # the loud one\n", "10.5, 11.373"),
        ("# found before\n3;4\n5,6\n", "3.4, 5.6"),
        ("layer,neuron,value,forced_kl\n1,20,-3.0,.5\n1,20,3.0,.5\n1,7,3.0,.2\n", "1.7, 1.20"),
        ('\ufeff"neuron","kl"\n"4",0.5\n5,0.25\n', "4..5"),
        ("neuron layer\n20 1\n", "1.20"),
        ("# as on the screen\r\n\r\n11.373\r\n10 5\r\n11.370\r\n", "10.5, 11.370, 11.373"),
    ],
)
def test_a_file_lists_neurons_in_many_ways(tmp_path: Path, content: str, neurons: str) -> None:
    file = tmp_path / "some.txt"
    file.write_text(content, encoding="utf-8")
    assert neurons_given(str(file)) == neurons


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "lists no neurons"),
        ("# nothing\n", "lists no neurons"),
        ("layer,neuron\n", "lists no neurons"),
        ("373\nlots\n", "line 2: 'lots' is no neuron"),
        ("1 2 3\n", "line 1: '1 2 3' is no neuron"),
        ("neuron,kl\n3,1\n,2\n", "line 3: .* is no neuron"),
        ("unit kl\n3 1\n", "line 1: 'unit kl' is no neuron, and no heading"),
        ("-4\n", "line 1: '-4' is no neuron"),
        ("1.2 3\n", "line 1: '1.2 3' is no neuron"),
        ("neuron\n1.2\n", "line 2: '1.2' is no neuron"),
    ],
)
def test_a_line_that_is_no_neuron_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "some.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ExplorerError, match=said):
        neurons_given(str(file))


def test_a_file_that_is_not_there_is_no_neuron(tmp_path: Path) -> None:
    with pytest.raises(ExplorerError, match="no such file"):
        neurons_given(str(tmp_path / "none"))


def test_words_of_the_experiment_file_are_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("all", "373", "some"):
        Path(name).write_text("5\n", encoding="utf-8")
    for words in ("0..99/2", "all", "373"):
        assert neurons_given(words) == words
    assert (neurons_given("some"), neurons_given("./373")) == ("5", "5")


def test_what_was_given_is_what_the_experiment_has() -> None:
    overrides = survey_overrides(neurons="4.370, 4.5", layers=None, depth="free", then=None, vectors="5")
    experiment, _ = read_experiment("demo", overrides=overrides)
    survey = experiment.survey
    # As TOML numbers 4.370 and 4.37 are one.
    assert (survey.neurons, survey.layers, survey.depth, survey.vectors) == ("4.5, 4.370", "", "free", "5")
    assert survey_overrides(neurons=None) == []
    assert survey_overrides(neurons=[4, "9..12"], layers=range(2)) == [
        'survey.neurons="4, 9..12"',
        'survey.layers="0, 1"',
    ]
    hostile, _ = read_experiment("demo", overrides=[*survey_overrides(neurons=12, depth="forced")])
    assert hostile.survey.neurons == "12"
    with pytest.raises(ExplorerError, match="is no neuron"):
        read_experiment("demo", overrides=survey_overrides(neurons='7" \\ "'))
