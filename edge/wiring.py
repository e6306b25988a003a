"""What two parts of a line cannot share: a wire that one of them moves, or a name that a broker knows one by."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

ENCODER = "belt.encoder"


def shared_wires(content: dict[str, Any]) -> list[str]:
    """A sentence for each pair of parts of a configuration (as read, perhaps wrong) that name the same wire."""
    problems: list[str] = []
    users: dict[tuple[Any, ...], str] = {}
    for key, wire, what in _wires(content):
        if other := users.get(wire):
            problems.append(f"{other} and {key} are both {what}: each needs one of its own")
        users.setdefault(wire, key)
    return problems + [
        f"{users[wire]} writes {what}, which {key} reads: an input needs an address of its own"
        for key, wire, what in _read(_parts(content))
        if wire in users
    ]


def _wires(content: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...], str]]:
    """Of each part that has a wire to itself: its key, the wire's name, the same in words."""
    for key, table in _parts(content).items():
        kind = table.get("type")
        if kind == "gpio" and isinstance(pin := table.get("pin"), int | str):
            yield f"{key}.pin", (kind, _pin(pin)), f"pin {pin}"
        elif kind == "modbus" and key.startswith("outputs."):
            yield from _place(f"{key}.address", table, table.get("kind", "coil"), table.get("address"))
        elif kind == "opcua" and isinstance(node := table.get("node"), str):
            with suppress(ValueError):  # told of where the key itself is looked at
                url = urlsplit(str(table.get("url")))
                yield f"{key}.node", (kind, _host(url.hostname), url.port or 4840, node), f"{node} of {url.hostname}"
        elif kind == "mqtt" and isinstance(client := table.get("client_id"), str):
            # A broker ends the connection of the one when the other comes, and so on without end.
            host, port = _host(table.get("host")), table.get("port", 8883 if table.get("tls") is True else 1883)
            if isinstance(port, int):
                yield f"{key}.client_id", (kind, host, port, client), f"{client} at {host}"


def _read(parts: dict[str, dict[str, Any]]) -> Iterator[tuple[str, tuple[Any, ...], str]]:
    """Of each part that reads a Modbus device: its key and each place that it reads; several may read the same."""
    for key, table in parts.items():
        if table.get("type") != "modbus" or key.startswith("outputs."):
            continue
        if key == ENCODER:
            first, words = table.get("register_at"), table.get("words", 2)
            if isinstance(first, int) and isinstance(words, int):
                for address in range(first, first + min(words, 2)):
                    yield from _place(f"{key}.register_at", table, table.get("kind", "holding"), address)
        else:
            yield from _place(f"{key}.address", table, table.get("kind", "discrete"), table.get("address"))


def _place(key: str, table: dict[str, Any], which: Any, address: Any) -> Iterator[tuple[str, tuple[Any, ...], str]]:
    """A bit or register of a Modbus device, if that is what a table names."""
    host = _host(table.get("host"))
    place = (host, table.get("port", 502), table.get("unit", 1), which, address)
    if all(isinstance(part, int | str) for part in place):
        yield key, ("modbus", *place), f"{which} {address} of {host}"


def _parts(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of all outputs, photo-eyes and the encoder, by their keys."""
    outputs, items, lanes, belt = (content.get(key) for key in ("outputs", "items", "lanes", "belt"))
    tables: dict[str, Any] = {}
    if isinstance(outputs, dict):
        tables |= {f"outputs.{name}": table for name, table in outputs.items()}
    if isinstance(items, dict):
        tables["items.trigger"] = items.get("trigger")
    if isinstance(lanes, list):
        tables |= {f"lanes[{i}].confirm": lane.get("confirm") for i, lane in enumerate(lanes) if isinstance(lane, dict)}
    if isinstance(belt, dict):
        tables[ENCODER] = belt.get("encoder")
    return {key: table for key, table in tables.items() if isinstance(table, dict)}


def _host(name: Any) -> str:
    """Names are told apart whatever their letters' size; where one and the same machine has two, only it knows."""
    return "127.0.0.1" if (host := str(name).lower()) in {"localhost", "::1"} else host


def _pin(pin: int | str) -> str:
    """gpiozero calls the same pin 17, "17", "GPIO17" and "BCM17"; which of these a BOARD11 is, only it knows."""
    name = str(pin).upper()
    number = re.fullmatch(r"(?:GPIO|BCM)?0*(\d+)", name)
    return f"GPIO{number[1]}" if number else name.replace("J8:", "BOARD")
