"""What every output that ships keeps to, whatever it moves; each with a real other side (rigs.py)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.config import LineConfig
from edge.errors import ConfigError, OutputError
from edge.line import CLOSE_S
from edge.outputs import Output
from edge.parts import OUTPUT_TYPES, open_output, typed_outputs
from tests.edge.outputs.rigs import RIGS, SECRET, Rig
from tests.edge.outputs.servers import DECISION, PUSH

PATIENT_S = 5.0


@pytest.fixture(params=sorted(RIGS), scope="module")
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path_factory.mktemp("rig")) as made:
        yield made


def opened(table: dict[str, Any], **more: Any) -> Output:
    problems: list[str] = []
    settings = typed_outputs({"gate": {**table, **more}}, problems)
    assert problems == []
    output = open_output("gate", settings["gate"])
    output.begin({})
    return output


def becomes_ready(output: Output) -> None:
    """What connects by itself is given its time."""
    until = time.monotonic() + PATIENT_S
    while True:
        try:
            return output.fire(PUSH)
        except OutputError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def told(rig: Rig, before: int, least: int) -> int:
    """How many more pushes than before the other side knows of, once it has heard of so many."""
    assert rig.pushes
    until = time.monotonic() + PATIENT_S
    while rig.pushes() - before < least and time.monotonic() < until:
        time.sleep(0.005)
    return rig.pushes() - before


def test_every_type_that_ships_has_a_rig() -> None:
    assert set(OUTPUT_TYPES) == set(RIGS)


def test_a_push_reaches_the_other_side_once(rig: Rig) -> None:
    before = rig.pushes() if rig.pushes else 0
    output = opened(rig.there)
    try:
        becomes_ready(output)
        if rig.pushes:
            assert told(rig, before, 1) == 1
            rig.at_rest()
            output.fire(PUSH)
            assert told(rig, before, 2) == 2
    finally:
        output.close()


def test_an_output_whose_other_side_is_away_opens_fails_in_a_sentence_and_closes_in_time(rig: Rig) -> None:
    if rig.away is None:
        pytest.skip("it has no other side")
    began = time.monotonic()
    output = opened(rig.away)
    try:
        for push in (lambda: output.fire(PUSH), output.check):
            with pytest.raises(OutputError, match=r"127\.0\.0\.1") as caught:
                push()
            assert SECRET not in str(caught.value)
    finally:
        closing = time.monotonic()
        output.close()
        output.close()
    assert time.monotonic() - closing < CLOSE_S
    assert time.monotonic() - began < PATIENT_S


def test_check_says_what_it_found_in_one_line_and_pushes_nothing(rig: Rig) -> None:
    before = rig.pushes() if rig.pushes else 0
    problems: list[str] = []
    output = open_output("gate", typed_outputs({"gate": rig.there}, problems)["gate"])
    try:
        said = output.check()
    finally:
        output.close()
    assert said
    assert "\n" not in said
    assert SECRET not in said
    assert not rig.pushes or rig.pushes() == before


def test_it_is_called_by_a_name_in_sentences(rig: Rig) -> None:
    output = opened(rig.there)
    output.close()
    assert rig.called in output.called
    assert SECRET not in output.called


def test_each_wrong_key_is_one_sentence_that_names_it(rig: Rig, tmp_path: Path) -> None:
    for key, (value, says) in {**rig.wrong, "lead_ms": (-1, "greater than or equal to 0")}.items():
        content = {
            "model": {"path": "t.onnx"},
            "camera": {"source": 0},
            "belt": {"pixels_per_mm": 1, "speed_mm_s": 1},
            "lanes": [{"name": "rest", "default": True}],
            "outputs": {"gate": {**rig.there, key: value}},
        }
        with pytest.raises(ConfigError) as caught:
            LineConfig.parse(content, tmp_path / "line.toml")
        said = str(caught.value)
        assert said.startswith(f"{tmp_path / 'line.toml'}: outputs.gate.{key}"), said
        assert says in said
        assert "\n" not in said
        assert SECRET not in said


def test_with_on_decision_it_is_told_of_the_decision(rig: Rig) -> None:
    if not rig.pushes:
        pytest.skip("it does not tell")
    before = rig.pushes()
    output = opened(rig.there, on="decision")
    try:
        output.decided(DECISION)
        output.fire(PUSH)
        assert told(rig, before, 1) == 1
    finally:
        output.close()
