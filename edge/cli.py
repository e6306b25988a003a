"""`sortline`: demo, run, check, cameras, predict, bench, replay.

Exit status: 0 done, 1 the thing asked for failed, 2 wrong words or a wrong file.
"""

import argparse
import json
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

from edge import __version__
from edge.errors import (
    CameraError,
    ConfigError,
    ModelError,
    OutputError,
    PictureError,
    ReaderGone,
    SortlineError,
    WebError,
    screen_errors,
)
from edge.files import check_writable, write_whole
from edge.interrupts import Wish
from edge.logs import log_to_screen
from edge.plain import plain

DEMO_SECONDS = 20.0
LATE_KEYS = ("journal.", "belt.", "items.", "outputs.", "the photo-eye")  # what begins a sentence without the file
WRONG_INPUT = (ConfigError, ModelError, PictureError)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(plain(f"{self.prog}: {message} (see {self.prog} --help)", "\n"), file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    options = _parser().parse_args(arguments)
    options.wish = Wish()
    with options.wish.heard():
        try:
            with options.wish.told_as_itself(), log_to_screen(options.debug), screen_errors():
                return int(options.run(options))
        except SortlineError as error:
            if options.debug:
                raise
            print(plain(f"sortline: {error}", "\n"), file=sys.stderr)
            return 2 if isinstance(error, WRONG_INPUT) else 1
        except KeyboardInterrupt:
            print("sortline: interrupted", file=sys.stderr)
            return 1
        except ReaderGone:
            return 1


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    parser: argparse.ArgumentParser = _Parser(
        prog="sortline", description="See and sort items on a conveyor with a CNN."
    )
    parser.add_argument("--version", action="version", version=f"sortline {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], says: str, example: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=says, description=says, epilog=f"example: {example}", parents=[common])
        made.set_defaults(run=run)
        return made

    demo = command("demo", _demo, "a simulated belt, the bundled model, the live page", "sortline demo --seconds 60")
    demo.add_argument(
        "--seconds", type=_seconds, default=DEMO_SECONDS, help="how long, 0 for until Ctrl-C (default 20)"
    )
    demo.add_argument("--headless", action="store_true", help="without the page")
    demo.add_argument("--source", default=DEMO_SOURCE, help="another simulated belt (default: %(default)s)")
    demo.add_argument("--host", default="127.0.0.1", help="address of the page (default: %(default)s)")
    demo.add_argument("--port", type=_port, help="port of the page (default: 8080, or a free one)")
    demo.add_argument("--insecure", action="store_true", help="allow the page off this machine without a token")
    _summary_options(demo)

    run = command("run", _run, "the daemon: sort what the camera sees", "sortline run line.toml --decisions out.jsonl")
    run.add_argument("config", type=Path, metavar="LINE.toml")
    run.add_argument("--seconds", type=_seconds, default=0.0, help="end after so many seconds")
    run.add_argument("--frames", type=_count, help="end after so many frames")
    run.add_argument("--fast", action="store_true", help="a recorded source as fast as possible, nothing dropped")
    run.add_argument("--port", type=_port, help="port of the page, in place of web.port")
    _summary_options(run)

    check = command("check", _check, "open the camera, load the model, reach every output", "sortline check line.toml")
    check.add_argument("config", type=Path, metavar="LINE.toml")

    command("cameras", _cameras, "the cameras that are attached, and the modes they offer", "sortline cameras")

    predict = command("predict", _predict, "classify pictures: a JSON line each", "sortline predict parts.onnx a.jpg")
    predict.add_argument("model", type=Path, metavar="MODEL.onnx")
    predict.add_argument(
        "pictures", type=_picture, nargs="+", metavar="PICTURE", help="a file; - is one from standard input"
    )
    predict.add_argument(
        "--provider", default="auto", help="auto, cpu, openvino, cuda, tensorrt, coreml (default: auto)"
    )

    bench = command("bench", _bench, "measure this machine: model, line, /predict", "sortline bench --json bench.json")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    bench.add_argument("--scenario", action="append", metavar="NAME", help="only this one; may be given several times")
    bench.add_argument("--model", type=Path, metavar="MODEL.onnx", help="another model than the bundled one")
    bench.add_argument("--against", type=Path, metavar="OTHER.onnx", help="a second model to time in the same turns")
    bench.add_argument(
        "--floats", type=Path, metavar="CORE.onnx", help="--model's network before its pre-processing became part of it"
    )
    bench.add_argument(
        "--items",
        type=Path,
        metavar="DIR",
        help="class folders of pictures, for --scenario belt; "
        "--model learns them from what python -m edge.simulator OUT --items DIR draws",
    )
    bench.add_argument("--effort", type=_effort, default=1.0, help="the share of the usual measuring time (default: 1)")

    replay = command(
        "replay", _replay, "one clip through one or two models: which decisions differ",
        "sortline replay line.toml clip.mp4 --model new.onnx",
    )  # fmt: skip
    replay.add_argument("config", type=Path, metavar="LINE.toml")
    replay.add_argument("clip", metavar="CLIP")
    replay.add_argument("--model", type=Path, metavar="OTHER.onnx", help="the model to hold against the line's own")
    return parser


DEMO_SOURCE = "sim:?speed_mm_s=500&rate=9&seed=1&fps=60"


def _summary_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--decisions", type=Path, metavar="FILE.jsonl",
        help="append every decision as a JSON line; a file that another line is writing is refused",
    )  # fmt: skip
    parser.add_argument("--summary", type=Path, metavar="FILE.json", help="write the closing table as JSON")


def _demo(options: argparse.Namespace) -> int:
    from edge.demo import demo_config

    if not options.source.startswith("sim:"):
        raise ConfigError(f"--source {options.source}: the demo needs a simulated belt (sim:…); use `sortline run`")
    config = demo_config(options.source, options.host, options.port, options.headless, options.insecure)
    return _sort(config, options)


def _run(options: argparse.Namespace) -> int:
    config = _load(options.config)
    if options.port is not None:
        config = config.model_copy(update={"web": config.web.model_copy(update={"port": options.port})})
    try:
        return _sort(config, options)
    except ConfigError as error:
        # What only shows when the model is loaded or a file opened is told with the file's name too.
        said = str(error).replace("the configuration:", f"{options.config}:")
        raise ConfigError(f"{options.config}: {said}" if said.startswith(LATE_KEYS) else said) from None
    except CameraError as error:
        raise CameraError(f"{options.config}: camera.source: {error}") from None
    except (OutputError, WebError) as error:
        raise type(error)(f"{options.config}: {error}") from None


def _load(path: Path) -> Any:
    """A line's configuration. Modules that it names are looked up beside it too, and in the working directory."""
    from edge.config import LineConfig

    sys.path[:0] = [str(path.resolve().parent), str(Path.cwd())]
    return LineConfig.load(path)


def _sort(config: Any, options: argparse.Namespace) -> int:
    """Runs a line until its source ends, its time is up, or somebody asks it to stop; prints the table."""
    from edge.clock import VirtualClock
    from edge.line import Line
    from edge.memory import set_memory_aside
    from edge.priority import session_precedence
    from edge.screen import print_summary
    from edge.service import Supervisor

    _writable(options.summary, "--summary")
    fast = getattr(options, "fast", False)
    if fast:
        _must_be_recorded(config)
    with options.wish.to_stop() as stop, session_precedence(), Supervisor() as supervisor:
        line = Line(
            config,
            clock=VirtualClock() if fast else None,
            decisions_path=options.decisions,
            max_frames=getattr(options, "frames", None),
        )
        set_memory_aside()
        try:
            if fast:
                line.play(stop, options.seconds or None)
            else:
                line.start()
                _note(f"{config.model.path} runs on {line.classifier.choice.why}")
                if line.url:
                    _note(f"the page is at {line.url} (Ctrl-C ends)")
                _watch(line, stop, options.seconds, supervisor)
        finally:
            supervisor.stopping()
            line.stop()
    summary, status = line.watch.summary(), 0
    if options.summary:  # before the table: the terminal may be gone
        try:
            write_whole(options.summary, json.dumps(summary, indent=1) + "\n")
        except OSError as error:
            _note(f"--summary {options.summary}: cannot be written ({error.strerror})")
            status = 1
    print_summary(summary)
    return status


def _note(text: str) -> None:
    """A word on the way. A log file on a full disk must not keep the line from sorting."""
    with suppress(OSError):
        print(plain(f"sortline: {text}"), file=sys.stderr, flush=True)


def _watch(line: Any, stop: threading.Event, seconds: float, supervisor: Any) -> None:
    """Waits until the line has done its work; a supervisor's watchdog is fed while its threads come round."""
    supervisor.ready()
    ends = perf_counter() + seconds if seconds else float("inf")
    while not stop.is_set() and not line.wait(0.0):
        if supervisor.there:
            health = line.health()
            failing = [f"{name}: {part['text']}" for name, part in health.items() if not part["ok"]]
            supervisor.status("; ".join(failing) or "sorting")
            if health["line"]["ok"]:
                supervisor.alive()
        rest = ends - perf_counter()
        if rest <= 0:
            return
        stop.wait(min(rest, 0.1))


def _check(options: argparse.Namespace) -> int:
    from edge.check import check_line
    from edge.screen import print_checks

    results = list(check_line(_load(options.config), options.config))
    print_checks(results)
    failed = [result.part for result in results if not result.ok]
    if failed:
        print(plain(f"sortline: {options.config}: {', '.join(failed)} failed"), file=sys.stderr)
    return 1 if failed else 0


def _cameras(options: argparse.Namespace) -> int:
    from edge.camera.attached import list_cameras
    from edge.screen import print_cameras

    print_cameras(list_cameras())
    return 0


def _predict(options: argparse.Namespace) -> int:
    import cv2

    from edge.model import Classifier, answer
    from edge.picture import PIPED, read_bytes, read_piped
    from edge.web.pictures import classify_files

    cv2.setNumThreads(1)
    classifier = Classifier(options.model, options.provider)
    status = 0
    for path in options.pictures:
        start = perf_counter()
        try:
            data = read_bytes(path) if path else read_piped()
            prediction = classify_files(classifier, [(str(path or PIPED), data)])[0]
        except PictureError as error:
            print(plain(f"sortline: {error}"), file=sys.stderr)
            status = 2
            continue
        threshold = classifier.card.thresholds.get(prediction.label, 0.0)
        found = answer(prediction, classifier, None, threshold, perf_counter() - start)
        print(json.dumps({"file": str(path or "-"), **found}), flush=True)
    return status


def _bench(options: argparse.Namespace) -> int:
    from edge.bench import run_bench

    _writable(options.json, "--json")
    return run_bench(
        options.scenario, options.model, options.json,
        items=options.items, effort=options.effort, against=options.against, floats=options.floats,
    )  # fmt: skip


def _replay(options: argparse.Namespace) -> int:
    from edge.replay import replay
    from edge.screen import print_replay
    from edge.simulator.settings import SCHEME, SimulatorSettings

    if options.clip.startswith(SCHEME) and not SimulatorSettings.from_source(options.clip).seconds:
        raise ConfigError(f"{options.clip}: a simulated belt never ends; add seconds=60, say, to replay it")
    try:
        result = replay(_load(options.config), options.clip, options.model)
    except ConfigError as error:
        raise ConfigError(str(error).replace("the configuration:", f"{options.config}:")) from None
    print_replay(result)
    return 0


def _must_be_recorded(config: Any) -> None:
    from edge.camera import is_recorded

    if not is_recorded(config.camera):
        raise ConfigError("--fast needs a recorded or simulated source; camera.source is a live camera")


def _writable(path: Path | None, option: str) -> None:
    """Finds out before the work, not after it, that its result cannot be written."""
    if path is None:
        return
    try:
        check_writable(path)
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written ({error.strerror})") from None


def _picture(text: str) -> Path | None:
    """None is standard input; a file of that name is written ./-"""
    return None if text == "-" else Path(text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} must be 0 or more seconds")
    return value


def _effort(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} must be more than 0 and at most 100")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be 1 or more")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} must be 0 to 65535")
    return value


if __name__ == "__main__":
    logging.raiseExceptions = False
    sys.exit(main())
