"""The configuration file: everything wrong with it is said at once, in sentences."""

from pathlib import Path

import pytest

from edge.config import LineConfig
from edge.errors import ConfigError
from edge.parts import OUTPUT_TYPES

GOOD = """
[model]
path = "parts.onnx"
[camera]
source = 0
[belt]
pixels_per_mm = 1.6
speed_mm_s = 500
[[lanes]]
name = "good"
classes = ["bolt", "nut"]
output = "gate"
distance_mm = 400
[[lanes]]
name = "reject"
default = true
[outputs.gate]
type = "log"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "line.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        LineConfig.load(write(folder, text))
    return str(caught.value).splitlines()


def test_a_good_file_becomes_a_frozen_typed_object(tmp_path: Path) -> None:
    config = LineConfig.load(write(tmp_path, GOOD))
    assert config.belt.speed_mm_s == 500
    assert config.lane_of("nut").name == "good"
    assert config.lane_of("a class no lane names").name == "reject"
    assert config.outputs["gate"].type == "log"
    with pytest.raises(ValueError, match="frozen"):
        config.belt.speed_mm_s = 3  # type: ignore[misc]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file"):
        LineConfig.load(tmp_path / "nowhere.toml")


def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path: Path) -> None:
    assert "is not TOML" in problems(tmp_path, "[model\npath = 3")[0]


def test_all_errors_are_reported_at_once_each_with_its_key(tmp_path: Path) -> None:
    text = (
        GOOD.replace("pixels_per_mm = 1.6", "pixels_per_mm = -1")
        .replace("source = 0", "")
        .replace('path = "parts.onnx"', 'path = "parts.onnx"\nprovider = "gpu"')
    )
    said = problems(tmp_path, text)
    assert len(said) == 3
    assert any("belt.pixels_per_mm = -1" in one for one in said)
    assert any("camera.source is missing" in one for one in said)
    assert any("model.provider = 'gpu'" in one and "'openvino'" in one for one in said)


@pytest.mark.parametrize(
    ("wrong", "right", "where"),
    [
        ("speed_mm_s", "speed_mms", "belt"),
        ("distance_mm", "distnce_mm", "lanes[0]"),
        ("type", "tipe", "outputs.gate"),
        ("source", "sorce", "camera"),
    ],
)
def test_an_unknown_key_gets_the_nearest_known_one(tmp_path: Path, wrong: str, right: str, where: str) -> None:
    said = "\n".join(problems(tmp_path, GOOD.replace(f"{wrong} =", f"{right} =")))
    if where != "outputs.gate":
        assert f"{where}.{right} is not a key of [{where}] (did you mean {wrong}?" in said
    else:
        assert "outputs.gate.type is missing" in said


def test_an_unknown_table_is_told(tmp_path: Path) -> None:
    assert "lines is not a key of the file (did you mean line?" in problems(tmp_path, GOOD + "[lines]\nx = 1\n")[0]


def test_a_lane_that_names_an_output_which_is_not_there_is_told(tmp_path: Path) -> None:
    said = problems(tmp_path, GOOD.replace('output = "gate"', 'output = "gate2"'))
    assert said[0].endswith("lanes[0].output names 'gate2', which [outputs] does not define (it has: gate)")


def test_a_lane_that_names_a_class_which_the_model_does_not_have_is_told(tmp_path: Path) -> None:
    config = LineConfig.load(write(tmp_path, GOOD))
    config.check_classes(("bolt", "nut", "gear"))
    with pytest.raises(ConfigError, match=r"lanes\[0\].classes names 'nut'.*it has: bolt, gear"):
        config.check_classes(("bolt", "gear"))


def test_exactly_one_default_lane_is_asked_for(tmp_path: Path) -> None:
    assert "exactly one lane must have default = true" in problems(tmp_path, GOOD.replace("default = true", ""))[-1]


def test_a_class_in_two_lanes_is_told(tmp_path: Path) -> None:
    text = GOOD.replace("default = true", 'default = true\nclasses = ["nut"]')
    assert "lanes[1].classes names 'nut', which lane 'good' takes already" in problems(tmp_path, text)[0]


def test_an_output_type_that_does_not_exist_is_told_with_those_that_do(tmp_path: Path) -> None:
    said = problems(tmp_path, GOOD.replace('type = "log"', 'type = "telepathy"'))[0]
    assert f"'telepathy': is not an output type (there are: {', '.join(OUTPUT_TYPES)}; " in said


def test_a_callback_that_is_not_module_and_function_is_told(tmp_path: Path) -> None:
    said = problems(tmp_path, GOOD.replace('type = "log"', 'type = "callback"\nfunction = "plant7"'))[0]
    assert "outputs.gate.function = 'plant7': must be written package.module:function" in said


def test_an_output_of_the_users_own_brings_its_own_settings(tmp_path: Path) -> None:
    own = 'type = "tests.edge.own_parts:Blade"\nangle = 30'
    config = LineConfig.load(write(tmp_path, GOOD.replace('type = "log"', own)))
    assert config.outputs["gate"].angle == 30  # type: ignore[attr-defined]
    said = problems(tmp_path, GOOD.replace('type = "log"', own.replace("30", "300")))[0]
    assert "outputs.gate.angle = 300: input should be less than or equal to 90" in said


def test_relative_paths_are_looked_up_beside_the_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts.onnx").touch()
    path = write(tmp_path / "here", GOOD)
    assert LineConfig.load(path).model.path == Path("parts.onnx")
    (tmp_path / "here" / "parts.onnx").touch()
    assert LineConfig.load(path).model.path == tmp_path / "here" / "parts.onnx"


def test_the_files_of_an_output_that_ships_are_looked_up_beside_the_file_too(tmp_path: Path) -> None:
    text = GOOD.replace('type = "log"', 'type = "webhook"\nurl = "http://mes/"\ntoken_file = "mes.token"')
    assert LineConfig.load(write(tmp_path, text)).outputs["gate"].token_file == tmp_path / "mes.token"  # type: ignore[attr-defined]
    said = problems(tmp_path, text.replace("mes.token", "\\u0000"))[0]
    assert said.endswith("outputs.gate.token_file has a NUL character (\\u0000) in it")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("[items]\nmin_mm = 500", "min_mm 500 must be below max_mm 400"),
        ("[items]\nroi = [0, 0, 0, 10]", "items.roi = [0, 0, 0, 10]: must be x, y, width, height"),
        (
            "[items]\nroi = [0, 0, 30, 30]\nmin_mm = 20",
            "items.roi = [0, 0, 30, 30] has no room for an item: items.min_mm = 20 is 32 pixels at "
            "belt.pixels_per_mm = 1.6",
        ),
        ("[items]\nroi = [0, 0, 300, 3]", "items.roi = [0, 0, 300, 3] has no room for an item"),
        (
            "[items]\nmin_mm = 1\nmax_mm = 5",
            "items.max_mm = 5 is 8 pixels at belt.pixels_per_mm = 1.6, and nothing below 12 is taken for an item",
        ),
        ("[decide.thresholds]\nbolt = 2", "decide.thresholds.bolt = 2"),
        ("[decide.thresholds]\nbolt = true", "decide.thresholds: bolt must be a number, not true or false"),
        ('[decide.thresholds]\nbolt = "0.5"', "decide.thresholds: bolt must be a number, without quotes"),
    ],
)
def test_a_value_that_can_never_work_is_told(tmp_path: Path, table: str, says: str) -> None:
    assert says in "\n".join(problems(tmp_path, GOOD + table))


def test_a_picture_that_is_the_item_or_is_asked_for_by_a_photo_eye_needs_no_room_for_one(tmp_path: Path) -> None:
    LineConfig.load(write(tmp_path, GOOD + '[items]\nmode = "frame"\nroi = [0, 0, 9, 9]\nmax_mm = 9'))


WRONG_FORM = [
    ('name = "good"', 'name = ["good"]', "lanes[0].name = ['good']: must be a text"),
    ('output = "gate"', "output = {a = 1}", "lanes[0].output: must be a text"),
    ('["bolt", "nut"]', '[["bolt"]]', "lanes[0].classes[0] = ['bolt']: must be a text"),
    ('["bolt", "nut"]', '"bolt"', "lanes[0].classes = 'bolt': must be a list: [\"bolt\"]"),
    ("distance_mm = 400", "distance_mm = 1e12", "lanes[0].distance_mm = 1000000000000.0: input should be less"),
    ("source = 0", 'source = 0\ntype = "..a:b"', "camera.type = '..a:b': cannot be imported"),
    ("source = 0", 'source = 0\ntype = "pathlib:Path"', "camera.type = 'pathlib:Path': is not a camera"),
    ("source = 0", 'source = "a\\u0000"', "camera.source has a NUL character"),
    ("source = 0", f'source = "{"x" * 5000}"', "camera.source is too long to name a file"),
    ("source = 0", 'source = ""', "camera.source is empty"),
    ("source = 0", "source = true", "camera.source: must be a number, not true or false"),
    ("source = 0", "source = -1", "camera.source: the number of a camera must be 0 or more"),
    ("source = 0", "source = 1.5", "camera.source: must be a text, or the whole number of a camera"),
    ("parts.onnx", "a\\u0000b", "model.path has a NUL character"),
    ("parts.onnx", "x" * 300, "model.path is too long to name a file"),
    ("parts.onnx", "", "model.path is empty"),
    ('"parts.onnx"', "5", "model.path = 5: must be a text"),
    ("[belt]", "[[belt]]", "belt must be one table, [belt]"),
    ("1.6", "true", "belt.pixels_per_mm = true: must be a number, not true or false"),
    ("1.6", "2026-01-01", "belt.pixels_per_mm = 2026-01-01: must be a number"),
    ("1.6", "1" + "0" * 5000, "is not TOML: "),
    ("= 500", "= 500\nencoder = 5", "belt.encoder must be a table, [belt.encoder]"),
    ('"log"', "5", "outputs.gate.type = 5: must be a text (there are: "),
    ("[outputs.gate]", "[[outputs.gate]]", "outputs.gate must be one table, [outputs.gate]"),
    ('"log"', '"log"\n[items]\nroi = "all"', "items.roi = 'all': must be a list: [x, y, width, height]"),
    ('"log"', '"log"\n[items]\nroi = [0, 0, 0, 1]', "items.roi = [0, 0, 0, 1]: must be x, y, width, height"),
    ("= 500", '= "500"', "belt.speed_mm_s = '500': must be a number, without quotes"),
    ('"log"', '"log"\n[line]\nstart_armed = "yes"', "line.start_armed = 'yes': must be true or false, without quotes"),
    ('"log"', '"log"\n[line]\nstart_armed = 1', "line.start_armed = 1: must be true or false"),
    ('"log"', '"log"\n[decide]\ntolerance_mm = 900', "decide.tolerance_mm 900 must not be above reach_mm 20"),
    ('"log"', '"log"\n[journal]\npath = ""', "journal.path is empty"),
]


@pytest.mark.parametrize(("right", "wrong", "says"), WRONG_FORM, ids=[one[2][:40] for one in WRONG_FORM])
def test_a_value_of_the_wrong_form_gets_one_sentence_in_the_words_of_the_file(
    tmp_path: Path, right: str, wrong: str, says: str
) -> None:
    said = problems(tmp_path, GOOD.replace(right, wrong, 1))
    assert len(said) == 1
    assert said[0].startswith(f"{tmp_path / 'line.toml'}: {says}")


def test_lanes_in_single_brackets_are_told_to_take_two(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("[[lanes]]")] + '[lanes]\nname = "rest"\ndefault = true\n'
    assert problems(tmp_path, text)[0].endswith(
        ": lanes must be written with two pairs of brackets: [[lanes]], once for each lane"
    )


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert LineConfig.load(write(tmp_path, "\ufeff" + GOOD)).belt.speed_mm_s == 500
