from pathlib import Path

import pytest

from training.errors import InputError
from training.settings import FitSettings


def test_a_file_of_settings_is_outweighed_by_the_command(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("epochs = 30\nlr = 0.001\n[augment]\nrotate_deg = 3\nquarter_turns = true\n")
    settings = FitSettings.gather(file, {"epochs": 5, "lr": None}, {"rotate_deg": "7"})
    assert (settings.epochs, settings.lr) == (5, 0.001)
    assert (settings.augment.rotate_deg, settings.augment.quarter_turns) == (7.0, True)
    assert settings.augment.zoom == FitSettings().augment.zoom


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", r"run\.toml: epoch is no setting \(there are: network, .*epochs"),
        ("epochs = 'many'", r"^\S*run\.toml: epochs must be a whole number, not 'many'$"),
        ("keep = 'all'", r"run\.toml: keep must be 'best' or 'last', not 'all'"),
        ("lr = 0", r"run\.toml: lr must be above 0"),
        ("[augment]\nspin = 3", r"run\.toml: augment\.spin is no setting \(there are: rotate_deg"),
        ("augment = 3", r"run\.toml: augment is a table"),
        ("epochs = ", r"run\.toml: cannot be read as TOML"),
    ],
)
def test_a_file_of_settings_that_does_not_fit_is_told_by_key(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        FitSettings.gather(file, {}, {})


def test_everything_in_a_file_of_settings_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("epochs = 0\nbatch = 'x'\n[augment]\nspin = 3\n")
    flags = dict.fromkeys(FitSettings.model_fields) | {"seed": -1}
    with pytest.raises(InputError) as told:
        FitSettings.gather(file, flags, {})
    said = str(told.value)
    assert f"{file}: epochs must be at least 1, not 0" in said
    assert f"{file}: batch must be a whole number" in said
    assert f"{file}: augment.spin is no setting" in said
    assert "the command: seed must be at least 0" in said


def test_a_settings_file_may_begin_with_the_mark_of_a_windows_editor(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xef\xbb\xbfepochs = 3\r\n")
    assert FitSettings.gather(file, {}, {}).epochs == 3


def test_a_word_of_the_command_that_does_not_fit_is_told_as_such(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("epochs = 3")
    with pytest.raises(InputError, match=r"^the command: augment\.rotate_deg must be at most 180"):
        FitSettings.gather(file, {}, {"rotate_deg": "200"})
    with pytest.raises(InputError, match=r"^the command: augment\.spin is no setting"):
        FitSettings.gather(file, {}, {"spin": "3"})
    with pytest.raises(InputError, match=r"none\.toml: cannot be read as TOML \(No such file"):
        FitSettings.gather(tmp_path / "none.toml", {}, {})
