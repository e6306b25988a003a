"""The gpio output on gpiozero's own pretended pins: at rest, out for the length of a push, at rest again."""

import sys
import time
from typing import Any

import pytest

from edge.errors import ConfigError, OutputError
from tests.edge.outputs.pushes import Ear, opened, problems, push

HERE = {"type": "gpio", "pin": 17, "pulse_ms": 20}


def states(pin: Any) -> list[bool]:
    return [bool(one.state) for one in pin.states]


def wait_for_states(pin: Any, count: int) -> list[bool]:
    until = time.monotonic() + 10
    while len(pin.states) < count:
        assert time.monotonic() < until
        time.sleep(0.001)
    return states(pin)


@pytest.mark.parametrize("active_high", [True, False])
def test_a_push_sets_the_pin_out_and_back_after_the_pulse(pins: Any, active_high: bool) -> None:
    out, rest = active_high, not active_high
    output = opened({**HERE, "active_high": active_high})
    pin = pins.pin(17)
    try:
        assert (pin.function, bool(pin.state)) == ("output", rest)
        pin.clear_states()
        output.fire(push(0.03))
        assert bool(pin.state) is out, "it is out when fire returns"
        assert wait_for_states(pin, 3) == [rest, out, rest]
        assert pin.states[2].timestamp >= 0.03
    finally:
        output.close()


def test_a_push_while_it_is_out_makes_the_pulse_longer(pins: Any) -> None:
    output = opened(HERE)
    pin = pins.pin(17)
    try:
        pin.clear_states()
        output.fire(push(30.0))
        output.fire(push(0.03))
        assert wait_for_states(pin, 3) == [False, True, False]
    finally:
        output.close()


def test_closing_brings_it_back_lets_the_pin_go_and_may_be_done_twice(pins: Any) -> None:
    output = opened(HERE)
    pin = pins.pin(17)
    pin.clear_states()
    output.fire(push(30.0))
    output.close()
    output.close()
    assert states(pin)[:3] == [False, True, False]
    assert pin.function == "input"
    with pytest.raises(OutputError, match="is closed"):
        output.fire(push())
    opened(HERE).close()


def test_a_pin_that_cannot_be_set_is_an_error_and_one_that_stays_out_is_told_of_until_it_is_back(
    pins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = opened(HERE)
    ear, pin = Ear(output), pins.pin(17)
    write, broken = type(pin)._set_state, [True, False]

    def breaks(self: Any, value: bool) -> None:
        if value in broken:
            raise OSError("no such chip")
        write(self, value)

    monkeypatch.setattr(type(pin), "_set_state", breaks)
    try:
        with pytest.raises(OutputError, match="pin 17: OSError: no such chip"):
            output.fire(push(0.001))
        broken[:] = [False]
        output.fire(push(0.001))
        assert "nobody knows it back at rest" in ear.wait_for("diverter_out")
        assert pin.state
        broken.clear()
        ear.wait_for("diverter_out", recovered=True)
        assert not pin.state
    finally:
        broken.clear()
        output.close()


def test_check_says_which_pin_it_is_and_moves_nothing(pins: Any) -> None:
    output = opened({**HERE, "active_high": False})
    pins.pin(17).clear_states()
    assert output.check() == "GPIO17 is high, at rest"
    assert states(pins.pin(17)) == [True]
    output.close()


def test_a_pin_that_is_not_there_or_taken_is_a_sentence(pins: Any) -> None:
    with pytest.raises(ConfigError, match=r"outputs\.gate: pin = 'GPIO99'"):
        opened({**HERE, "pin": "GPIO99"})
    output = opened(HERE)
    with pytest.raises(ConfigError, match=r"outputs\.gate: pin = 'BOARD11': .*already in use"):
        opened({**HERE, "pin": "BOARD11"})
    output.close()


def test_without_gpiozero_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    with pytest.raises(
        ConfigError, match=r'outputs\.gate: type = "gpio" needs gpiozero: pip install "sortline\[gpio\]"'
    ):
        opened(HERE)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"pin": None}, "outputs.gate.pin is missing"),
        ({"pin": 1.5}, "outputs.gate.pin = 1.5: must be a pin as gpiozero names it: 17, "),
        ({"pin": ""}, "outputs.gate.pin = '': must be a pin as gpiozero names it: 17, "),
        ({"active_high": "yes"}, "outputs.gate.active_high = 'yes': must be true or false, without quotes"),
        ({"pull": "up"}, "outputs.gate.pull is not a key of [outputs.gate] (it has: "),
    ],
)
def test_a_wrong_key_is_one_sentence(keys: dict[str, Any], says: str) -> None:
    (said,) = problems(gate={**HERE, **keys})
    assert said.startswith(says)


def test_a_pin_that_two_parts_share_is_refused_with_both_their_keys() -> None:
    shared = "are both pin {}: each needs one of its own"
    assert problems(a=HERE, b={**HERE, "pin": "GPIO17"}) == [
        f"outputs.a.pin and outputs.b.pin {shared.format('GPIO17')}"
    ]
    assert problems(a=HERE, b={**HERE, "pin": 18}) == []
    eye = {"type": "gpio", "pin": "BCM17", "distance_mm": 500}
    lane = {"name": "good", "classes": ["bolt"], "output": "a", "distance_mm": 400, "confirm": eye}
    assert problems([lane], a=HERE) == [f"outputs.a.pin and lanes[0].confirm.pin {shared.format('BCM17')}"]
