"""Real cameras for the tests: an RTSP server of GStreamer's, and an HTTP server that sends JPEGs for ever."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import cv2
import numpy as np

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 " + " ".join(
    f"gstreamer1.0-plugins-{kind}" for kind in ("base", "good", "bad", "ugly")
)
BITS = 40


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def made_at(pixels: np.ndarray) -> float:
    """When a test camera made this picture, on CLOCK_MONOTONIC: the blocks along its top edge, read."""
    step = pixels.shape[1] // BITS
    blocks = pixels[4:12, : BITS * step].reshape(8, BITS, step, 3)[:, :, 2:-2].mean((0, 2, 3))
    return sum(int(level > 128) << bit for bit, level in enumerate(blocks)) / 1e3


class RtspServer:
    """rtsp_server.py in a process of its own, on one port for its whole life: start, kill, freeze, thaw."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/belt"

    def start(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SCRIPT), str(self.port), *words], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "READY\n", f"the RTSP server needs: apt-get install {PACKAGES}"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(SIGCONT)

    def sockets(self, protocol: str) -> int:
        """How many of the server's sockets are in /proc/net/tcp or udp."""
        assert self._process is not None
        ours = set()
        for link in Path(f"/proc/{self._process.pid}/fd").iterdir():
            try:
                ours.add(str(link.readlink()))
            except OSError:
                continue
        rows = Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]
        return sum(f"socket:[{row.split()[9]}]" in ours for row in rows)


def rtsp_is_missing() -> str | None:
    """Why there can be no RTSP server here; None when there can."""
    check = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
        "assert all(map(Gst.ElementFactory.find, 'appsrc x264enc rtph264pay qtdemux h264parse'.split()))"
    )
    if not Path(SYSTEM_PYTHON).exists():
        return f"no {SYSTEM_PYTHON}"
    ran = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, check=False)
    return None if ran.returncode == 0 else f"no RTSP server here: apt-get install {PACKAGES}"


class HttpCamera:
    """An MJPEG camera: multipart/x-mixed-replace over HTTP, with an optional user and password."""

    def __init__(self, fps: float = 30.0) -> None:
        self.fps = fps
        self.sent = 0
        self.frozen = threading.Event()
        self.closing = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/video":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
                self.end_headers()
                camera._send(self)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.block_on_close = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/video"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _send(self, handler: BaseHTTPRequestHandler) -> None:
        for number in range(1 << 30):
            if self.closing.wait(1 / self.fps):
                return
            if self.frozen.is_set():
                continue
            data = cv2.imencode(".jpg", picture(number))[1].tobytes()
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                handler.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return
            self.sent += 1


def picture(number: int, width: int = 640, height: int = 360) -> np.ndarray:
    """A grey picture with a white square on its way, and the moment of its making along the top."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    made_ms, step = int(time.monotonic() * 1e3), width // BITS
    for bit in range(BITS):
        pixels[:16, bit * step : (bit + 1) * step] = 255 * (made_ms >> bit & 1)
    x = number * 8 % (width - 40)
    pixels[height // 2 : height // 2 + 40, x : x + 40] = 255
    return pixels


@contextmanager
def mute_server() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield int(listener.getsockname()[1])
