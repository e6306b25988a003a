"""A real Modbus TCP server in a thread of its own: inputs whose state a test sets by hand, and what is written."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

COIL, DISCRETE, HOLDING, INPUT = 1, 2, 3, 4  # Modbus function codes that read them
WRITES = {5: COIL, 6: HOLDING}  # and that write one of them


class Plc:
    """What it answers: words[function code] is the register, or the sixteen bits, at address 0; port is where.

    writes are the (address, value) that were written, each with its moment in written_at. refuse(value) gives the
    Modbus exception, if any, that writing a value is answered with. What holds(value) is true of, None for a
    question, is not dealt with as long as that is so; held counts it.
    """

    def __init__(self) -> None:
        self.words = dict.fromkeys((COIL, DISCRETE, HOLDING, INPUT), 0)
        self.port = 0
        self.reads = 0
        self.writes: list[tuple[int, int]] = []
        self.written_at: list[float] = []
        self.refuse: Callable[[int], ExcCodes | None] = lambda value: None
        self.holds: Callable[[int | None], bool] = lambda value: False
        self.held = 0
        self.asked = threading.Condition()

    async def answer(
        self, code: int, _: int, address: int, __: int, registers: list[int], values: list[Any] | None
    ) -> ExcCodes | None:
        at = time.monotonic()
        held = False
        while self.holds(None if values is None else int(values[0])):
            with self.asked:
                self.held += not held
                self.asked.notify_all()
            held = True
            await asyncio.sleep(0.002)
        kind = WRITES.get(code, code)
        if values is not None:
            value = int(values[0])
            if refused := self.refuse(value):
                return refused
            bit = 1 << address
            self.words[kind] = value if kind == HOLDING else self.words[kind] & ~bit | (bit if value else 0)
        registers[0] = self.words[kind]
        with self.asked:
            if values is not None:
                self.writes.append((address, value))
                self.written_at.append(at)
            self.reads += values is None
            self.asked.notify_all()
        return None

    def wait_for_writes(self, count: int) -> list[tuple[int, int]]:
        """Waits until so much has been written since the start; what it was."""
        with self.asked:
            assert self.asked.wait_for(lambda: len(self.writes) >= count, 10), self.writes
            return list(self.writes)

    def wait_for_reads(self, count: int) -> None:
        """Waits until the server has been asked so many times more."""
        with self.asked:
            until = self.reads + count
            assert self.asked.wait_for(lambda: self.reads >= until, 10)


@contextmanager
def serving(plc: Plc) -> Iterator[Plc]:
    """Serves a plc, at its port when it has one; when the block ends the server is gone."""
    bits, words = (
        SimData(0, values=[False] * 16, datatype=DataType.BITS),
        SimData(0, values=[0], datatype=DataType.REGISTERS),
    )
    device = SimDevice(id=1, simdata=([bits], [bits], [words], [words]), action=plc.answer)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stopping = asyncio.Event()

    async def serve() -> None:
        server = ModbusTcpServer(device, address=("127.0.0.1", plc.port))
        await server.serve_forever(background=True)
        plc.port = server.transport.sockets[0].getsockname()[1]
        ready.set()
        await stopping.wait()
        await server.shutdown()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="plc")
    thread.start()
    try:
        assert ready.wait(10)
        yield plc
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()
