import pytest

from edge.errors import ConfigError
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World


def read(source: str) -> SimulatorSettings:
    return SimulatorSettings.from_source(source)


def test_an_address_sets_what_it_names_and_leaves_the_rest():
    settings = read("sim:?speed_mm_s=1000&rate=12.5&direction=up&motion=ramps")
    assert (settings.speed_mm_s, settings.rate, settings.direction, settings.motion) == (1000.0, 12.5, "up", "ramps")
    assert settings.width == 1280
    assert read("sim:") == SimulatorSettings()


def test_the_camera_table_wins_over_the_address():
    settings = SimulatorSettings.from_source("sim:?width=640&height=480", width=800, fps=None)
    assert (settings.width, settings.height, settings.fps) == (800, 480, 60.0)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("sim:?sped_mm_s=5", "sped_mm_s is not a key of sim: (did you mean speed_mm_s? it has: speed_mm_s,"),
        ("sim:?speed_mm_s=fast", "speed_mm_s = 'fast': "),
        ("sim:?rate=-1", "rate = '-1': input should be greater than 0"),
        ("sim:?direction=north", "direction = 'north': input should be 'right', 'left', 'down' or 'up'"),
        ("sim:?noise=nan", "noise = 'nan': "),
        ("sim:?rate", "each key needs a value"),
        ("sim:?rate=1&rate=2", "rate is given twice"),
        ("sim:fast?rate=1", "is written sim:?key=value"),
    ],
)
def test_a_wrong_address_is_one_sentence_that_names_the_key(source, says):
    with pytest.raises(ConfigError) as caught:
        read(source)
    assert says in str(caught.value)
    assert str(caught.value).startswith("camera.source")
    assert "\n" not in str(caught.value)


def test_every_wrong_key_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        read("sim:?rate=0&colour=red")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("sim:?rate=30&speed_mm_s=500", "at most 1"),
        ("sim:?rows=8", "do not fit across"),
        ("sim:?items=/no/such/folder", "no such folder"),
    ],
)
def test_a_belt_that_cannot_be_is_refused_with_the_mend(source, says):
    with pytest.raises(ConfigError, match=says):
        World(read(source))


def test_a_folder_without_class_folders_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no class folders with pictures"):
        World(SimulatorSettings(items=tmp_path))


def test_a_class_named_as_what_has_no_class_is_refused(tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "one.png").touch()
    with pytest.raises(ConfigError, match="rename that folder"):
        World(SimulatorSettings(items=tmp_path))
