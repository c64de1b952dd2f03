from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import text

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, available_presets, read_experiment
from srm_explorer.engine.experiment.load import stem_for
from srm_explorer.engine.runs import default_path


def write(folder: Path, name: str = "spec.toml", text: str | None = None) -> Path:
    path = folder / name
    path.write_text(read_experiment("protocol")[0].to_toml() if text is None else text)
    return path


def read(path: Path | str, *overrides: str) -> Experiment:
    return read_experiment(str(path), overrides=overrides)[0]


def test_a_file_gives_its_stem_and_its_folder(tmp_path: Path) -> None:
    _, source = read_experiment(str(write(tmp_path, "night watch.toml")))
    assert (source.name, source.base) == ("night watch", tmp_path)


def test_paths_of_a_session_start_where_they_did_as_long_as_that_is_there(tmp_path: Path) -> None:
    there, gone = tmp_path / "work", tmp_path / "gone"
    there.mkdir()
    spec = read_experiment("protocol")[0].to_dict()
    for base, found in ((str(there), there), (str(gone), tmp_path), ("work", tmp_path), (7, tmp_path)):
        saved = write(tmp_path, "s.json", json.dumps({"spec": spec, "provenance": {"base": base}}))
        assert read_experiment(str(saved))[1].base == found
    for odd in ([], None):
        saved = write(tmp_path, "s.json", json.dumps({"spec": spec, "provenance": odd}))
        assert read_experiment(str(saved))[1].base == tmp_path


def test_a_preset_starts_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, source = read_experiment("quick")
    assert (source.name, source.base) == ("quick", tmp_path)


def test_a_session_file_gives_its_experiment(tmp_path: Path) -> None:
    protocol, _ = read_experiment("protocol")
    saved = write(tmp_path, "lighthouse.json", json.dumps({"schema_version": 1, "spec": protocol.to_dict()}))
    bare = write(tmp_path, "bare.json", protocol.to_json())
    assert read(saved) == read(bare) == protocol


def test_overrides_set_any_field_in_the_file_s_own_words() -> None:
    changed = read(
        "protocol",
        "model.name=sshleifer/tiny-gpt2",
        "model.revision=1234567",
        "generation.tokens=20",
        "generation.stop_at_eos=false",
        "interventions.0.values=-5..5/5",
        "interventions[0].neurons=[1, 2]",
        "prompts.sets=watching",
        "prompts.where.type=declarative",
        "spotlight.thresholds=0.9,0.2",
        "stats=2026-01-31",
        "grid=true",
        'planes=[{site = "blocks.11.hook_resid_post", a = 5, b = 6}]',
    )
    assert (changed.model.name, changed.model.revision) == ("sshleifer/tiny-gpt2", "1234567")
    assert (changed.generation.tokens, changed.generation.stop_at_eos) == (20, False)
    assert changed.interventions[0].values == (-5, 0, 5)
    assert changed.interventions[0].neurons == (1, 2)
    assert (changed.prompts.sets, changed.prompts.where) == (("watching",), {"type": ("declarative",)})
    of_set = read("protocol", "prompts.where.watching.type=declarative", "prompts.where.watching.level=[1, 2]")
    assert of_set.prompts.where == {"watching": {"type": ("declarative",), "level": ("1", "2")}}
    assert changed.spotlight.thresholds == (0.9, 0.2)
    assert (changed.stats, changed.grid) == ("2026-01-31", True)
    assert [(plane.a, plane.b) for plane in changed.planes] == [(5, 6)]


def test_the_last_override_wins_and_an_empty_one_takes_the_default() -> None:
    assert read("quick", "generation.tokens=9", "generation.tokens=8").generation.tokens == 8
    assert read("quick", "prompts.limit=").prompts.limit is None


@pytest.mark.parametrize(
    ("overrides", "planes", "note"),
    [
        (["interventions.0.neurons=[137]"], [(137, 2202)], "plane 373 × 2202 moves along to 137 × 2202"),
        (["interventions.0.neurons=137"], [(137, 2202)], "plane 373 × 2202 moves along to 137 × 2202"),
        (["interventions.0.neurons=[137]", "planes.0.b=5"], [(137, 5)], "plane 373 × 5 moves along to 137 × 5"),
        (["planes.0.a=137", "interventions.0.neurons=[137]"], [(137, 2202)], ""),
        (["interventions.0.neurons=[137]", "planes.0.a=9"], [(9, 2202)], ""),
        (["interventions.0.neurons=[137]", "planes.0.a=373"], [(373, 2202)], "stays: it was set by hand"),
        (["planes=[{site='blocks.11.mlp.hook_post', a=5, b=6}]", "interventions.0.neurons=[137]"], [(5, 6)], ""),
        (
            ["planes=[{site='blocks.11.mlp.hook_post', a=373, b=6}]", "interventions.0.neurons=[137]"],
            [(373, 6)],
            "plane 373 × 6 stays: it was set by hand",
        ),
        (["interventions.0.neurons=[2202]"], [(373, 2202)], "plane 373 × 2202 stays: 2202 lies in it already"),
        (["interventions.0.neurons=[1, 2]"], [(373, 2202)], "stays: 2 neurons are edited in place of 1"),
        (["interventions.0.neurons=[373]"], [(373, 2202)], ""),
        (["generation.tokens=20"], [(373, 2202)], ""),
        (
            ["interventions=[{site='blocks.11.mlp.hook_post', neurons=[7], op='zero'}]"],
            [(7, 2202)],
            "plane 373 × 2202 moves along to 7 × 2202",
        ),
        (
            ["interventions.0.site=blocks.9.mlp.hook_post", "interventions.0.neurons=[137]"],
            [(137, 2202)],
            "capture and plane move along to layer 9; plane 373 × 2202 moves along to 137 × 2202",
        ),
        (
            ["interventions.0.site=blocks.9.mlp.hook_post", "capture.sites=['blocks.11.mlp.hook_post']"],
            [(373, 2202)],
            "plane 373 × 2202 stays: what is edited lies at blocks.9.mlp.hook_post now",
        ),
    ],
)
def test_a_plane_follows_an_overridden_neuron_or_is_named(
    overrides: list[str], planes: list[tuple[int, int]], note: str
) -> None:
    experiment, source = read_experiment("protocol", overrides=overrides)
    assert [(plane.a, plane.b) for plane in experiment.planes] == planes
    assert source.note.endswith(note)
    assert bool(source.note) == bool(note)


def test_captures_and_planes_follow_an_overridden_layer() -> None:
    experiment, source = read_experiment("protocol", overrides=["interventions.0.site=blocks.9.mlp.hook_post"])
    assert experiment.capture.sites == ("blocks.9.mlp.hook_post", "blocks.9.hook_resid_post")
    assert experiment.planes[0].site == "blocks.9.mlp.hook_post"
    assert source.note == "capture and plane move along to layer 9"


def test_a_plane_follows_also_from_a_file_that_needs_its_overrides(tmp_path: Path) -> None:
    text = read_experiment("protocol")[0].to_toml().replace('name = "gpt2"\n', "")
    spec = write(tmp_path, text=text)
    with pytest.raises(ExplorerError, match="missing key 'name'"):
        read(spec)
    assert read(spec, "interventions.0.neurons=[137]", "model.name=gpt2").planes[0].a == 137


def test_a_path_typed_on_the_command_line_starts_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write(tmp_path)
    here = tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    assert read(spec, "prompts.sets=reasoning, mine.txt").prompts.sets == ("reasoning", str(here / "mine.txt"))
    assert read(spec, 'prompts.sets=["reasoning", "mine.txt"]').prompts.sets == ("reasoning", str(here / "mine.txt"))
    assert read("quick", "prompts.sets=mine.txt").prompts.sets == ("mine.txt",)


def test_prompts_are_left_out_on_the_command_line_as_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    changed = read(spec, "prompts.sets=reasoning, mine.txt", 'prompts.omit={ "mine.txt" = [2], reasoning = "1..5/2" }')
    assert changed.prompts.omit == {str(Path.cwd() / "mine.txt"): (2,), "reasoning": (1, 3, 5)}
    assert Experiment.from_toml(changed.to_toml()) == changed == Experiment.from_json(changed.to_json())
    assert read(spec, "prompts.sets=reasoning", "prompts.omit.reasoning=[7, 3]").prompts.omit == {"reasoning": (3, 7)}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("generation.tokns=5", "did you mean 'tokens'?"),
        ("tokens=5", "it belongs in [generation]"),
        ("generation.tokens", "write it as"),
        ("=5", "write it as"),
        ("..=5", "write it as"),
        ("interventions.3.op=add", "choose from 0 to 0"),
        ("generation.tokens.x=5", "set it as a whole"),
        (
            "interventions.values=5",
            "interventions is a list, and 'values' is of one of it; write interventions[0].values",
        ),
        ("generation=5", "--set, generation: 5 is not a table"),
        ("generation.tokens=many", "--set, generation.tokens: 'many' is not a whole number"),
        ("generation.tokens=5\nseed = 3", "--set, generation.tokens: "),
        ("prompts.where.a.b=5", "'a' is not among the sets"),
        ("prompts.where.a.b.c=5", "as a whole"),
    ],
)
def test_an_override_that_sets_nothing_is_refused_with_a_remedy(override: str, told: str) -> None:
    with pytest.raises(ExplorerError) as caught:
        read("protocol", override)
    assert told in str(caught.value)
    assert str(caught.value).startswith("--set")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[model\nname='x'", "spec.toml, line 1, column 7: broken TOML"),
        ("[model]\nname = ", "spec.toml, line 2, the end of the file: broken TOML"),
        ("a = " + "[" * 100_000, "broken TOML"),
        ("a = " + "9" * 5000, "broken TOML"),
        ("", "missing table [model]; add it with name"),
    ],
)
def test_a_broken_file_is_told_by_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ExplorerError) as caught:
        read(write(tmp_path, text=text))
    assert told in str(caught.value)
    assert caught.value.remedy
    assert len(str(caught.value)) < 400


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(b"\xef\xbb\xbf" + write(tmp_path, "plain.toml").read_bytes())
    assert read(path) == read("protocol")


def test_bytes_that_are_no_text_are_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(b"[model]\nname = '\xff'\n")
    with pytest.raises(ExplorerError, match=r"line 2: byte 0xff is not UTF-8"):
        read(path)


@pytest.mark.parametrize("text", ["[]", "5", "{}", '{"spec": 5}', '{"model": ', "nope", '{"a": NaN}'])
def test_json_without_an_experiment_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ExplorerError) as caught:
        read(write(tmp_path, "s.json", text))
    assert "s.json" in str(caught.value)


def test_a_misspelt_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(ExplorerError, match="did you mean 'protocol'"):
        read("protocl")
    with pytest.raises(ExplorerError, match="use the preset 'quick'"):
        read("./quik.toml")


def test_a_file_without_its_ending_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mine.toml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExplorerError, match=r"did you mean the file 'mine\.toml'"):
        read("mine")


def test_a_folder_is_not_an_experiment(tmp_path: Path) -> None:
    with pytest.raises(ExplorerError, match="name a file, not a folder"):
        read(tmp_path)


@given(text())
def test_any_name_is_read_or_refused_in_one_line(name: str) -> None:
    if name in available_presets():
        return
    with pytest.raises(ExplorerError) as caught:
        read_experiment(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stem", "came_with", "runs", "named"),
    [
        ("demo", "demo", "demo", "demo"),
        ("demo", "demo", "/models/smol", "smol"),
        ("lighthouse", "demo", "demo", "lighthouse"),
        ("lighthouse", "gpt2", "HuggingFaceTB/SmolLM2-135M", "lighthouse-SmolLM2-135M"),
        ("gpt2-night", "gpt2", "EleutherAI/pythia-70m", "pythia-70m-night"),
        ("gpt2-night", "gpt2-medium", "gpt2", "gpt2-night"),
        ("demonstration", "demo", "./smol", "demonstration-smol"),
        ("storm", "gpt2", "/models/two words!/", "storm-two-words"),
    ],
)
def test_a_default_name_says_the_model_that_runs_and_no_other(stem: str, came_with: str, runs: str, named: str) -> None:
    assert stem_for(stem, came_with, runs) == named


def test_another_model_by_an_override_is_in_the_default_name(tmp_path: Path) -> None:
    path = write(tmp_path, "lighthouse.toml")
    for spec, overrides, named in (
        ("demo", (), "demo"),
        ("demo", ("model.name=/models/smol",), "smol"),
        ("demo", ("generation.tokens=3",), "demo"),
        (str(path), ("model.name=gpt2",), "lighthouse"),
        (str(path), ("model.name=/models/smol",), "lighthouse-smol"),
    ):
        assert read_experiment(spec, overrides=overrides)[1].name == named


def test_what_an_earlier_version_saved_under_another_models_name_is_still_that_session() -> None:
    experiment, _ = read_experiment("demo", overrides=["model.name=/models/smol"])
    digest = experiment.digest()
    assert default_path(experiment, "demo").stem == f"smol-{digest}"
    before = paths.session_path(f"demo-{digest}")
    before.parent.mkdir(parents=True)
    before.write_text("{}")
    assert default_path(experiment, "demo") == before
    paths.session_path(f"smol-{digest}").write_text("{}")
    assert default_path(experiment, "demo").stem == f"smol-{digest}"
