from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdh_ray.config import apply_overrides, dump_config, load_config, parse_config
from kdh_ray.errors import ConfigError

STAGES = {"teacher": {}, "student": {"teachers": ["teacher"]}}
CONFIGS = sorted((Path(__file__).parents[2] / "experiments" / "configs").glob("*.yaml"))
EMBEDDED = sorted((Path(__file__).parents[2] / "kdh_ray" / "configs").glob("*.yaml"))


def faults(tree: dict) -> list[str]:  # type: ignore[type-arg]
    with pytest.raises(ConfigError) as caught:
        parse_config(tree)
    return caught.value.faults


def test_every_shipped_configuration_is_valid() -> None:
    assert len(CONFIGS) == 10
    assert len(EMBEDDED) == 1
    for file in (*CONFIGS, *EMBEDDED):
        assert load_config(file).stages


def test_all_faults_are_reported_at_once() -> None:
    loss = {"alpha": 1.5, "temperature": 0}
    found = faults({"name": "a b", "seed": -1, "stages": {"t": {"loss": loss, "epochs": "many", "dropout": 1.0}}})
    expected = [
        "name",
        "seed",
        "stages.t.loss.alpha",
        "stages.t.loss.temperature",
        "stages.t.epochs",
        "stages.t.dropout",
    ]
    assert sorted(fault.split(":")[0] for fault in found) == sorted(expected)
    assert "stages.t.loss.alpha: must be at least 0 and at most 1; got 1.5" in found
    assert "stages.t.loss.temperature: must be above 0; got 0" in found
    assert "stages.t.dropout: must be at least 0 and below 1; got 1.0" in found


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"stages": STAGES, "dta": {}}, "dta: no such setting; did you mean 'data'?"),
        ({"stages": STAGES, "data": {"sise": "small"}}, "data.sise: no such setting; did you mean 'size'?"),
        ({"stages": {"t": {"leraning_rate": 1}}}, "leraning_rate: no such setting; did you mean 'learning_rate'?"),
        ({"stages": {"t": {"loss": {"alhpa": 1}}}}, "stages.t.loss.alhpa: no such setting; did you mean 'alpha'?"),
        ({}, "stages: is required"),
        ({"stages": {"s": {"teachers": ["nobody"]}}}, "'nobody' is neither an earlier stage"),
        ({"stages": {"s": {"start": "t"}, "t": {}}}, "stages.s.start: stage 't' does not come before 's'"),
        (
            {"stages": {"t": {"pooling": "cls"}, "s": {"start": "t"}}},
            "stages.s.pooling: must be that of its start 't', cls; got mean",
        ),
        ({"stages": {"embedded": {}}}, "a stage's name"),
        (
            {"stages": {"t": {"seed": 2**31}}},
            "stages.t.seed: must be at least 0 and below 2147483648; got 2147483648",
        ),
        (
            {"stages": STAGES, "data": {"sample_seed": 2**31}},
            "data.sample_seed: must be at least 0 and below 2147483648; got 2147483648",
        ),
        ({"stages": {"t": 3}}, "stages.t: must be a section of settings; got 3"),
        ({"stages": {"t": {"epochs": True}}}, "stages.t.epochs: can't be yes or no, true or false; got True"),
        ({"stages": STAGES, "tune": [1]}, "tune: must be a section of settings; got [1]"),
        ({"stages": STAGES, "tune": {"space": {"dropout": 0.1}}},
         "tune.space.dropout: takes {low: .., high: ..} or {choices: [..]}; got 0.1"),
        ({"stages": STAGES, "tune": {"time_budget": "2hours"}},
         "tune.time_budget: takes seconds, or like 90s, 30m, 2h; got '2hours'"),
        ({"stages": STAGES, "tune": {"memory_per_trial": "2GB"}}, "takes bytes, or like 800M, 1.5G; got '2GB'"),
        ({"stages": STAGES, "tune": {"time_budget": "-1m"}}, "tune.time_budget: "),
    ],
)  # fmt: skip
def test_faults_name_setting_and_rule(tree: dict, message: str) -> None:  # type: ignore[type-arg]
    assert any(message in fault for fault in faults(tree))


def test_overrides_are_yaml_and_keep_the_rest() -> None:
    tree = apply_overrides(
        {"stages": {"t": {"epochs": 1}}},
        ["stages.t.learning_rate=1e-4", "stages.t.loss.alpha=0.3", "data.segments=false"],
    )
    assert tree == {
        "stages": {"t": {"epochs": 1, "learning_rate": 1e-4, "loss": {"alpha": 0.3}}}, "data": {"segments": False},
    }  # fmt: skip


@pytest.mark.parametrize(
    "override", ["epochs", "=3", "stages.t.epochs.deeper=1", "tune.space={low: ", "name=2026-13-45"]
)
def test_impossible_override_is_named(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        apply_overrides({"stages": {"t": {"epochs": 1}}}, [override])


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        (each, each)
        for each in ("#", "|", ",", ":", "-", "*", " ", "&", "!", "%", "~", ">", "yes", "1", " and ", "[", "'")
    ]
    + [(r"\t", "\t"), (r"\n", "\n"), ('"#"', "#"), ("'1'", "1"), ("'; '", "; "), (" | ", "|")],
)
def test_separators_are_text_and_not_yaml(text: str, separator: str) -> None:
    tree = apply_overrides({"stages": STAGES}, [f"data.label_separator={text}"])
    assert parse_config(tree).data.label_separator in (separator, separator.strip())


@pytest.mark.parametrize(("text", "separator"), [(" and ", " and "), (" / ", "/"), ("  ", "  ")])
def test_separators_of_words_keep_their_blanks(text: str, separator: str) -> None:
    assert apply_overrides({}, [f"data.label_separator={text}"]) == {"data": {"label_separator": separator}}


@pytest.mark.parametrize(("written", "read"), [(r"\t", "\t"), (r"\n", "\n"), ("\t", "\t"), ("n", "n")])
def test_escaped_separators_are_read_everywhere(written: str, read: str) -> None:
    assert parse_config({"stages": STAGES, "data": {"label_separator": written}}).data.label_separator == read


@pytest.mark.parametrize(
    ("text", "column"), [("2026-01-02", "2026-01-02"), ("a # b: c", "a # b: c"), ("12", "12"), ("no", "no")]
)
def test_columns_are_text_and_not_yaml(text: str, column: str) -> None:
    data = parse_config(
        apply_overrides({"stages": STAGES}, [f"data.id_column={text}", f"data.text_column={text}"])
    ).data
    assert (data.id_column, data.text_column) == (column, column)


def test_lists_of_names_are_text() -> None:
    tree = apply_overrides({"stages": STAGES}, ['data.label_columns=[no, 1e5, C#, 012, "a, b"]', "data.path=2024"])
    data = parse_config(tree).data
    assert data.label_columns == ("no", "1e5", "C#", "012", "a, b")
    assert str(data.path) == "2024"
    with pytest.raises(ConfigError, match=r"label_columns: must be a list, such as \[a, b\]; got 'pain,fever'"):
        parse_config(apply_overrides({"stages": STAGES}, ["data.label_columns=pain,fever"]))


@pytest.mark.parametrize("text", ["null", "~", ""])
def test_columns_can_be_left_out(text: str) -> None:
    tree = apply_overrides({"stages": STAGES, "data": {"id_column": "id"}}, [f"data.id_column={text}"])
    assert parse_config(tree).data.id_column is None


@given(
    st.text(min_size=1).filter(
        lambda text: text.strip() == text and text[0] not in "'\"" and text not in (r"\t", r"\n")
    )
)
def test_any_separator_is_taken_as_it_is(separator: str) -> None:
    assert apply_overrides({}, [f"data.label_separator={separator}"]) == {"data": {"label_separator": separator}}


def test_overrides_do_not_change_their_input() -> None:
    tree = {"stages": {"t": {"epochs": 1}}}
    apply_overrides(tree, ["stages.t.epochs=2"])
    assert tree == {"stages": {"t": {"epochs": 1}}}


@settings(deadline=None)  # a busy machine takes its time
@given(
    st.floats(0, 1), st.floats(1e-6, 1.0), st.integers(1, 99), st.sampled_from(["bernoulli-kl", "softmax-kl"]),
    st.integers(0, 2**31 - 1),
)  # fmt: skip
def test_dumped_configuration_reads_back(alpha: float, rate: float, epochs: int, soft: str, seed: int) -> None:
    import yaml

    loss = {"alpha": alpha, "soft": soft}
    config = parse_config({"seed": seed, "stages": {"t": {"learning_rate": rate, "epochs": epochs, "loss": loss}}})
    assert parse_config(yaml.safe_load(dump_config(config))) == config


@pytest.mark.parametrize("content", [b"stages: [", b"- a\n- b\n", b"\xff\xfe", b"", b"name: 2026-13-45", b"[" * 5000])
def test_invalid_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_config(file)


def test_yaml_faults_name_the_line_and_no_text(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("name: x\ndata:\n\tcorpus: a patient's text\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    (fault,) = caught.value.faults
    assert fault.startswith(r"is not YAML: line 3, column 1: found character '\t' that cannot start any token")
    assert fault.endswith("(indent with spaces)")
    assert "patient" not in fault


def test_table_is_refused_as_configuration(tmp_path: Path) -> None:
    file = tmp_path / "notes.csv"
    file.write_text('text,pain\n"a patient\'s text: [x",1\n')
    with pytest.raises(ConfigError, match="is a table, but a configuration is a YAML file; name the table") as caught:
        load_config(file)
    assert "patient" not in str(caught.value)


def test_overrides_of_unknown_stages_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no such stage: 'studnet' \(stages: student\); did you mean 'student'\?"):
        apply_overrides({"stages": {"student": {}}}, ["stages.studnet.epochs=2"])
    tree = apply_overrides({"stages": {"student": {}}}, ["stages.more={epochs: 2}"])
    assert list(tree["stages"]) == ["student", "more"]


def test_faults_say_that_settings_were_changed(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("stages: {student: {}}\n")
    with pytest.raises(ConfigError, match=r"my\.yaml with --set: stages\.student\.epoch: no such setting"):
        load_config(file, ["stages.student.epoch=2"])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: can't be read: No such file"):
        load_config(tmp_path / "none.yaml")


def test_repeated_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("name: x\nstages:\n  t: {epochs: 1, epochs: 2}\n  s: {}\n  t: {}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.faults == [
        "stages.t.epochs: appears twice, in lines 3 and 3",
        "stages.t: appears twice, in lines 3 and 5",
    ]


def test_merged_section_may_be_overridden(tmp_path: Path) -> None:
    file = tmp_path / "merged.yaml"
    file.write_text("stages:\n  t: &t {epochs: 1}\n  s: &s {<<: *t, epochs: 2}\n  u: {<<: *s, epochs: 3}\n")
    assert [stage.epochs for stage in load_config(file).stages.values()] == [1, 2, 3]


def test_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "teacher").mkdir()
    config = parse_config(
        {
            "cache": "~/cache",
            "results": "~/results",
            "data": {"path": "~/notes.csv", "unlabelled": ["~/predictions"]},
            "stages": {"s": {"start": "~/encoder", "teachers": ["~/teacher"]}},
        }
    )
    stage = config.stages["s"]
    places = [config.cache, config.results, config.data.path, *config.data.unlabelled, stage.start, *stage.teachers]
    names = ["cache", "results", "notes.csv", "predictions", "encoder", "teacher"]
    assert list(map(str, places)) == [str(tmp_path / name) for name in names]


CHAIN = parse_config(
    {
        "name": "chain",
        "stages": {
            "large": {},
            "assistant": {"start": "embedded", "teachers": ["large"]},
            "other": {},
            "student": {"start": "other", "teachers": ["large", "assistant"]},
            "label-tuned": {"start": "student"},
            "aside": {"start": "large"},
        },
        "tune": {"stage": "student", "trials": 3},
    }
)


def test_members_come_before_their_stage() -> None:
    stages = {"teacher": {"members": 3, "seed": 5}, "student": {"start": "teacher-1", "teachers": ["teacher"]}}
    config = parse_config({"stages": stages})
    assert list(config.stages) == ["teacher-1", "teacher-2", "teacher-3", "teacher", "student"]
    assert [config.stages[name].seed for name in config.models("teacher")] == [5, 6, 7]
    assert config.needs("student") == config.teacher_stages() == ["teacher-1", "teacher-2", "teacher-3", "teacher"]
    assert parse_config(config.model_dump(mode="json")) == config


def test_a_member_may_have_settings_of_its_own() -> None:
    config = parse_config({"stages": {"teacher": {"members": 2, "epochs": 2}, "teacher-2": {"epochs": 9}}})
    assert list(config.stages) == ["teacher-1", "teacher-2", "teacher"]
    assert [stage.epochs for stage in config.stages.values()] == [2, 9, 2]


@pytest.mark.parametrize(
    ("stages", "fault"),
    [
        ({"t": {"members": 0}}, "stages.t.members: must be at least 1 and at most 99; got 0"),
        (
            {"t": {"members": 2}, "s": {"start": "t"}},
            "stages.s.start: 't' has several members, and a model starts from one of them: 't-1', for example",
        ),
        (
            {"t": {"members": 2}, "t-1": {"members": 2}},
            "stages.t-1.members: a member of 't' can't have members of its own",
        ),
        ({"t": {"members": 2, "start": "s"}, "s": {}}, "stages.t.start: stage 's' does not come before 't'"),
    ],
)
def test_faults_of_ensembles_are_reported_once(stages: dict, fault: str) -> None:  # type: ignore[type-arg]
    assert faults({"stages": stages}) == [fault]


def test_stage_needs_what_it_builds_on() -> None:
    assert CHAIN.direct_needs("assistant") == ["large"]
    assert CHAIN.needs("student") == ["large", "assistant", "other"]
    assert CHAIN.needs("label-tuned", "student") == ["large", "assistant", "other"]
    assert CHAIN.needs("large") == []


def test_dependents_build_on_a_stage() -> None:
    assert CHAIN.dependents("large") == ["assistant", "student", "label-tuned", "aside"]
    assert CHAIN.dependents("assistant") == ["student", "label-tuned"]
    assert CHAIN.dependents("aside") == []


def test_teacher_stages_include_what_they_need() -> None:
    assert CHAIN.teacher_stages() == ["large", "assistant"]
    assert parse_config({"stages": {"a": {}, "b": {"start": "a"}}}).teacher_stages() == []


def test_left_out_stages_become_checkpoints() -> None:
    stages = {name: CHAIN.stages[name] for name in ("student", "label-tuned")}
    config = CHAIN.with_only(stages, lambda name: Path("/run") / name, name="part", cache="/cache")
    assert list(config.stages) == ["student", "label-tuned"]
    assert config.stages["student"].start == "/run/other"
    assert config.stages["student"].teachers == ("/run/large", "/run/assistant")
    assert config.stages["label-tuned"].start == "student"
    assert (config.name, config.cache, config.tune.trials) == ("part", Path("/cache"), None)


UNLABELLED: dict[str, Any] = {"teacher": {}, "other": {}, "student": {"teachers": ["teacher"]}}


def test_unlabelled_text_is_predicted_by_own_or_named_teachers() -> None:
    def taught_by(stages: dict[str, Any] = UNLABELLED, **text: Any) -> tuple[tuple[str, ...], list[str]]:
        config = parse_config({"data": {"unlabelled": {"path": "more.csv", **text}}, "stages": stages})
        assert parse_config(config.model_dump(mode="json")) == config
        assert config.teacher_stages() == config.direct_needs("student")
        return config.unlabelled_teachers("student"), config.teacher_stages()

    assert taught_by() == (("teacher",), ["teacher"])
    assert taught_by(teachers=["other"]) == (("other",), ["teacher", "other"])
    own = UNLABELLED | {"student": {"teachers": ["teacher"], "unlabelled_teachers": ["other"]}}
    assert taught_by(own, teachers=["teacher"]) == (("other",), ["teacher", "other"])


@pytest.mark.parametrize(
    ("unlabelled", "fault"),
    [
        ("a.csv", "data.unlabelled: must be {path: FILE}, or a list of outputs of kdh-ray predict; got 'a.csv'"),
        ({"path": "x", "paht": "y"}, "data.unlabelled.paht: no such setting; did you mean 'path'?"),
        ({"path": "x", "held_out": "no"}, "data.unlabelled.held_out: input should be 'refuse' or 'drop'; got 'no'"),
        (
            {"path": "x", "delimiter": "ab"},
            "data.unlabelled.delimiter: must be one character, and no quote or line end; got 'ab'",
        ),
        *(
            (
                {"path": "x", "teachers": [name]},
                f"data.unlabelled.teachers: {name!r} is neither an earlier stage (earlier: teacher, other)"
                " nor a folder",
            )
            for name in ("techer", "student")
        ),
    ],
)
def test_wrong_unlabelled_text_is_named(unlabelled: Any, fault: str) -> None:
    assert faults({"data": {"unlabelled": unlabelled}, "stages": UNLABELLED}) == [fault]


def test_unlabelled_text_is_set_on_the_command_line() -> None:
    written = parse_config({"stages": UNLABELLED}).model_dump(mode="json")  # data.unlabelled is an empty list there
    changes = ["data.unlabelled.path=notes #2.csv", "data.unlabelled.teachers=[other]", "data.unlabelled.sample=9"]
    text = parse_config(apply_overrides(written, changes)).data.unlabelled_text
    assert text is not None
    assert (text.path, text.teachers, text.sample) == ("notes #2.csv", ("other",), 9)
    folders = parse_config(apply_overrides(written, ["data.unlabelled=[1e5, predictions]"])).data.unlabelled
    assert folders == ("1e5", "predictions")


def test_unlabelled_text_needs_a_stage_that_learns_from_it() -> None:
    text = {"unlabelled": {"path": "more.csv"}}
    lacking = ["data.unlabelled: no stage has teachers, so none would learn from it"]
    assert faults({"data": text, "stages": {"teacher": {}}}) == lacking
    stages = UNLABELLED | {"student": {"teachers": ["teacher"], "unlabelled_teachers": ["other"]}}
    assert faults({"stages": stages}) == [
        "stages.student.unlabelled_teachers: needs teachers, and text in data.unlabelled.path"
    ]
    whole = parse_config({"data": text, "stages": UNLABELLED})
    assert whole.with_only({"teacher": whole.stages["teacher"]}, str).data.unlabelled == ()
