"""An RTSP camera for the tests: run by the system's Python, which has GStreamer's bindings.

    /usr/bin/python3 rtsp_server.py PORT [--size 640x360] [--fps 30] [--clip FILE] [--still] [--black] ...

Each picture carries the moment it was made, CLOCK_MONOTONIC in milliseconds, as 40 black and white
blocks along its top edge, so that a reader on the same machine can tell its true age. Prints READY.
"""

import argparse
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BITS = 40
BLOCK_ROWS = 16


class Pictures:
    """Fills one media's appsrc with pictures of a bar that moves over a ramp."""

    def __init__(self, width: int, height: int, fps: int, still: bool, black: bool) -> None:
        self.size, self.fps = (width, height), fps
        self.still, self.black = still, black
        self.count = 0
        self.due = 0.0
        self.ramp = bytes(40 + 120 * x // width for x in range(width))

    def configure(self, _factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_child_by_name("pictures")
        source.connect("need-data", self.push)

    def push(self, source: Gst.Element, _length: int) -> None:
        self.due = max(self.due + 1 / self.fps, time.monotonic() - 1 / self.fps)
        time.sleep(max(self.due - time.monotonic(), 0))
        buffer = Gst.Buffer.new_wrapped(self.picture())
        buffer.duration = Gst.SECOND // self.fps
        self.count += 1
        source.emit("push-buffer", buffer)

    def picture(self) -> bytes:
        width, height = self.size
        if self.black:
            return bytes(width * height) + bytes([128]) * (width * height // 2)
        made_ms = 0 if self.still else int(time.monotonic() * 1e3)
        step = width // BITS
        bits = b"".join((b"\xeb" if made_ms >> i & 1 else b"\x10") * step for i in range(BITS))
        top = (bits + bytes([16]) * (width - len(bits))) * BLOCK_ROWS
        at = 0 if self.still else (self.count * 8) % (width - 20)
        row = self.ramp[:at] + b"\xeb" * 20 + self.ramp[at + 20 :]
        return top + row * (height - BLOCK_ROWS) + bytes([128]) * (width * height // 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--clip")
    parser.add_argument("--still", action="store_true")
    parser.add_argument("--black", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--password")
    words = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer(service=words.port, address="127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    if words.clip:
        factory.set_launch(f'( filesrc location="{words.clip}" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 )')
    else:
        width, height = map(int, words.size.split("x"))
        factory.set_launch(
            "( appsrc name=pictures is-live=true do-timestamp=true format=time block=true "
            f"caps=video/x-raw,format=I420,width={width},height={height},framerate={words.fps}/1 "
            f"! identity sync=false ! queue max-size-buffers=2 ! x264enc tune=zerolatency speed-preset=ultrafast "
            f"key-int-max={words.fps} bitrate=2000 ! rtph264pay config-interval=1 name=pay0 pt=96 )"
        )
        pictures = Pictures(width, height, words.fps, words.still, words.black)
        factory.connect("media-configure", pictures.configure)
    if words.user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(words.user, words.password), token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.new_from_string("user, media.factory.access=true, media.factory.construct=true")
        )
    server.get_mount_points().add_factory("/belt", factory)
    server.attach(None)
    print("READY", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
