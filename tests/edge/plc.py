"""A real Modbus TCP server in a thread of its own: four inputs whose state a test sets by hand."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

COIL, DISCRETE, HOLDING, INPUT = 1, 2, 3, 4  # Modbus function codes that read them


class Plc:
    """What it answers: words[function code] is the register, or the sixteen bits, at address 0; port is where."""

    def __init__(self) -> None:
        self.words = dict.fromkeys((COIL, DISCRETE, HOLDING, INPUT), 0)
        self.port = 0
        self.reads = 0
        self.asked = threading.Condition()

    async def answer(self, code: int, _: int, __: int, ___: int, registers: list[int], ____: object) -> None:
        registers[0] = self.words[code]
        with self.asked:
            self.reads += 1
            self.asked.notify_all()

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
