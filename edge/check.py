"""`sortline check`: opens the camera, loads the model, reaches every output, and says how each is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from edge.bounded import NotBack, within
from edge.camera import redacted
from edge.camera.probe import probe
from edge.clock import MonotonicClock
from edge.config import LineConfig
from edge.encoders import EncoderSettings, counted
from edge.errors import SortlineError, pass_interrupt
from edge.eyes import EyeSettings
from edge.eyes.watching import begin_to_listen
from edge.journal import check_journal, check_pictures
from edge.model import Classifier
from edge.parts import open_encoder, open_eye, open_output
from edge.web.listen import listen, token_for, url_of

ANSWER_S, CLOSE_S = 3.0, 1.0  # so long a part is waited for


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. A note is well and still worth a look."""

    part: str
    ok: bool
    text: str
    note: bool = False


def check_line(config: LineConfig, path: str | Path = "the configuration") -> Iterator[Check]:
    """Tries each part of a line, one after the other; a part that fails does not keep the others from being tried.

    path names the configuration in messages.
    """
    yield _model(config, path)
    if config.model.shadow:
        yield from _shadow(config, config.model.shadow, path)
    yield _camera(config)
    if config.belt.encoder:
        yield _encoder(config, config.belt.encoder)
    for name, settings in config.outputs.items():
        part = f"outputs.{name}"
        try:
            output = open_output(name, settings)
            try:
                yield Check(part, True, f"{settings.type}: {within(ANSWER_S, output.check, 'check()')}")
            finally:
                within(CLOSE_S, output.close, "close()")
        except SortlineError as error:  # some begin with the part, which has its own column here
            yield Check(part, False, str(error).removeprefix(f"{part}: "))
        except BaseException as error:  # an output may be the user's own and raise anything
            pass_interrupt(error)
            yield Check(part, False, f"{settings.type}: {_said_by(error)}")
    yield from _photo_eyes(config)
    for note in (*config.notes(), *config.hints()):
        yield Check(note.partition(".")[0], True, note, note=True)
    if config.web.enabled:
        yield _web(config)
    yield from _journal(config)


def _photo_eyes(config: LineConfig) -> Iterator[Check]:
    for name, settings in config.photo_eyes.items():
        part = f"photo-eye {name}"
        try:
            eye = open_eye(settings, MonotonicClock(), part)
            try:
                if hasattr(eye, "attach"):
                    yield _simulated(part, config, settings.type, "looks at the simulated belt")
                    continue
                broken = _is_broken(name, eye, settings)
                beam = "" if broken is None else f", its beam is {'broken' if broken else 'free'}"
                yield Check(part, True, f"{settings.type}{beam}")
            finally:
                if close := getattr(eye, "close", None):
                    within(CLOSE_S, close, "close()")
        except SortlineError as error:
            yield Check(part, False, str(error))
        except BaseException as error:  # a photo-eye may be the user's own and raise anything
            pass_interrupt(error)
            yield Check(part, False, f"{settings.type}: {_said_by(error)}")


def _simulated(part: str, config: LineConfig, kind: str, does: str) -> Check:
    """What belongs to a simulated belt, which there is only while the line runs."""
    if str(config.camera.source).startswith("sim:"):
        return Check(part, True, f"{kind}: {does}")
    return Check(part, False, f'{kind}: needs a simulated belt, camera.source = "sim:…"')


def _is_broken(name: str, eye: Any, settings: EyeSettings) -> bool | None:
    """Whether an eye's beam is broken, as the line would come to know it; None where it has not told of it yet."""
    said: list[bool] = []

    def told(broken: bool, at: float) -> None:
        said.append(broken)

    if hasattr(eye, "listen"):
        begin_to_listen(name, eye, told)
    elif hasattr(eye, "read"):
        said.append(bool(within(ANSWER_S, eye.read, "read()")))
    return said[-1] != settings.inverted if said else None


def _encoder(config: LineConfig, settings: EncoderSettings) -> Check:
    """Makes the encoder and reads it once."""
    try:
        encoder = open_encoder(settings, MonotonicClock())
        try:
            if hasattr(encoder, "attach"):
                return _simulated("encoder", config, settings.type, "turns with the simulated belt")
            counts = within(ANSWER_S, lambda: counted(encoder.read()), "read()")
        finally:
            if close := getattr(encoder, "close", None):
                within(CLOSE_S, close, "close()")
    except SortlineError as error:
        return Check("encoder", False, str(error))
    except BaseException as error:  # an encoder may be the user's own and raise anything
        pass_interrupt(error)
        return Check("encoder", False, f"belt.encoder.type = {settings.type!r}: {_said_by(error)}")
    return Check("encoder", True, f"{settings.type}: stands at {counts:g} counts")


def _said_by(error: BaseException) -> str:
    """An error of somebody's own code, for one who does not read Python."""
    return str(error) if isinstance(error, NotBack) else f"{type(error).__name__}: {error}"


def _model(config: LineConfig, path: str | Path) -> Check:
    try:
        classifier = Classifier(config.model.path, config.model.provider, config.model.threads)
        config.check_classes(classifier.card.classes, path)
    except SortlineError as error:
        return Check("model", False, str(error))
    card = classifier.card
    start = perf_counter()
    classifier.run(np.full((1, card.height, card.width, 3), 127, np.uint8))
    took_ms = (perf_counter() - start) * 1e3
    text = f"{card.name} {card.version}, {len(card.classes)} classes, {card.width}x{card.height}, {took_ms:.1f} ms"
    return Check("model", True, f"{text} on {classifier.choice.why}")


def _web(config: LineConfig) -> Check:
    """Takes the port for a moment; a line that runs already has it."""
    try:
        with listen(config.web) as sock:
            token = token_for(config.web, sock)
            return Check("web", True, f"{url_of(sock)} is free, {'asks for the token' if token else 'open to all'}")
    except SortlineError as error:
        # `run` has an option for the port; here there is only the file.
        return Check("web", False, str(error).replace("with --port or web.port", "with web.port"))


def _journal(config: LineConfig) -> Iterator[Check]:
    """The two places on the disk, where the line has them."""
    for part, path, look in (
        ("journal", config.journal.path, check_journal),
        ("pictures", config.journal.pictures, check_pictures),
    ):
        if path is None:
            continue
        try:
            look(path)
            yield Check(part, True, f"{path}{'' if path.exists() else ', will be made'}")
        except (SortlineError, OSError) as error:
            yield Check(part, False, str(error))


def _shadow(config: LineConfig, file: Path, path: str | Path) -> Iterator[Check]:
    """The model that looks on; classes other than those of the lanes are no fault, for it decides nothing."""
    try:
        card = Classifier(file, "cpu", 1).card
    except SortlineError as error:
        yield Check("shadow", False, str(error))
        return
    yield Check("shadow", True, f"{card.name} {card.version}, {len(card.classes)} classes, {card.width}x{card.height}")
    if lacks := config.shadow_lacks(card.classes, path):
        yield Check("shadow", True, lacks, note=True)


def _camera(config: LineConfig) -> Check:
    try:
        report = probe(config.camera)
    except SortlineError as error:
        return Check("camera", False, str(error))
    text = (
        f"{redacted(config.camera.source)}: {report.backend}, {report.width}x{report.height}, "
        f"{report.fps:.1f} fps, jitter {report.jitter_ms:.1f} ms, {report.timestamps} timestamps, "
        f"first frame after {report.open_to_first_frame_s:.2f} s"
    )
    if report.refused:
        text += f"; the camera refused {', '.join(report.refused)}"
    items, size = config.items, (report.width, report.height)
    if wrong := items.outside(*size) or items.no_room(config.belt.pixels_per_mm, size):
        return Check("camera", False, f"{text}; {wrong}")
    return Check("camera", True, text)
