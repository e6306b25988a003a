"""A run: one folder with what a training was told, what it did and what came of it, and the steps between."""

import platform
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.progress import Progress

from edge.model import FORMAT, Classifier, ModelCard, Resize
from training.architectures import Network
from training.aware import fit_aware
from training.calibrate import Calibration, calibration_error, fit_calibration
from training.compare import Score, compare, fastest_faithful
from training.crew import ALONE, Crew
from training.data import Dataset, load
from training.errors import InputError, TrainingError
from training.evaluation.examine import answer
from training.export import Front, check_parity, dress, export_core, with_card, write_model
from training.files import alone_in, write_atomically
from training.fit import fit, predict
from training.layout import check_outside, default_size, find
from training.networks import check_network, load_network
from training.novelty import learn_novelty
from training.promises import Promises, promised
from training.quantize import FP32, Limits, quantize, run_core, saturates
from training.seen import remember
from training.settings import FitSettings
from training.track import Tracker
from training.tta import LOOKS, Tta

LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy", "opencv-python-headless")
RECIPE = "static QDQ, U8 activations, S8 weights per channel, last layer and softmax in float"


class RunSettings(BaseModel):
    """All that a run depends on, as its settings.json keeps it. fingerprint is of the dataset that was trained on.

    threads is how many processor cores a process summed over: over another number sums round otherwise.
    tta is how the exported files look at a picture; the fit knows nothing of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    fingerprint: str
    name: str = Field(min_length=1)
    size: int = Field(ge=32, le=1024, multiple_of=4)
    crop_margin: float = Field(default=0.1, ge=0, le=2)
    resize: Resize = Resize()
    group: str | None = None
    threads: int | None = None
    tta: Tta = "none"
    fit: FitSettings = FitSettings()
    promises: Promises = Promises()


class Run:
    """One run folder, with its dataset and network at hand. Make one with `start` or `open`."""

    def __init__(
        self, folder: Path, settings: RunSettings, data: Dataset, progress: Progress, crew: Crew = ALONE
    ) -> None:
        crew.agree(f"{data.root}: the dataset", data.fingerprint)
        self.folder = folder
        self.settings = settings
        self.data = data
        self.progress = progress
        self.crew = crew

    @classmethod
    def start(
        cls,
        folder: Path,
        root: Path,
        name: str,
        settings: FitSettings,
        progress: Progress,
        size: int | None = None,
        crop_margin: float = 0.1,
        group: str | None = None,
        promises: Promises | None = None,
        crew: Crew = ALONE,
        tta: Tta = "none",
    ) -> "Run":
        """Reads the dataset and makes a new run folder; refuses one that holds a run already.

        A network that cannot be had is found out before anything is written. A folder with nothing but
        the settings of a run that failed before its first step is as good as new.
        group is the rule by which pictures stay together when the dataset is split (training.grouping).
        All processes of a crew do this; the first alone writes.
        """
        check_outside(root, folder, "name a run folder beside it")
        if crew.leads and _holds_a_run(folder):
            raise InputError(f"{folder}: holds a run already; name a new folder, or go on with `fit --resume`")
        check_network(settings.network, Path(settings.weights) if settings.weights else None)
        size = size or default_size(find(root)[0])
        resize = Resize()
        new = not folder.exists()
        _make(folder)
        try:
            data = load(root, size, size, resize, settings.seed, progress, scratch=folder, group=group)
        except (TrainingError, InputError):
            if new:
                with suppress(OSError):  # it is empty, or it stays
                    folder.rmdir()
            raise
        run = RunSettings(
            dataset=str(root.resolve()),
            fingerprint=data.fingerprint,
            name=name,
            size=size,
            crop_margin=crop_margin,
            resize=resize,
            group=group,
            threads=torch.get_num_threads(),
            tta=tta,
            fit=settings,
            promises=promises or Promises(),
        )
        if crew.leads:
            write_atomically(folder / "settings.json", run.model_dump_json(indent=1).encode())
        return cls(folder, run, data, progress, crew)

    @classmethod
    def open(cls, folder: Path, progress: Progress, root: Path | None = None, crew: Crew = ALONE) -> "Run":
        """Opens a run folder and reads its dataset again, which must be as it was; root says where it is now."""
        path = folder / "settings.json"
        try:
            settings = RunSettings.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise InputError(f"{folder}: is not a run folder (it has no settings.json)") from None
        except (OSError, ValidationError) as error:
            raise InputError(f"{path}: cannot be read as a run's settings ({str(error).splitlines()[0]})") from None
        size, group = settings.size, settings.group
        root = root or Path(settings.dataset)
        data = load(root, size, size, settings.resize, settings.fit.seed, progress, scratch=folder, group=group)
        if data.fingerprint != settings.fingerprint:
            raise InputError(f"{data.root}: is not as it was when {folder} was trained; start a new run")
        return cls(folder, settings, data, progress, crew)

    @property
    def core(self) -> Path:
        return self.folder / "core.onnx"

    @property
    def fp32(self) -> Path:
        return self.folder / "fp32.onnx"

    @property
    def int8(self) -> Path:
        return self.folder / "int8.onnx"

    @cached_property
    def network(self) -> Network:
        """The trained network with its best weights."""
        path = self.folder / "weights.pt"
        if not path.exists():
            raise InputError(f"{self.folder}: has no weights.pt; the run was not fitted yet")
        return load_network(self.settings.fit.network, len(self.data.classes), path)

    def fit(self, resume: bool = False, tracker: Tracker | None = None) -> None:
        """Trains; the folder then has weights.pt. Raises InputError while another process trains in it."""
        with alone_in(self.folder) if self.crew.leads else nullcontext():
            network = fit(self.data, self.settings.fit, self.folder, self.progress, resume, tracker, self.crew)
        self.__dict__["network"] = network

    def export(self) -> Path:
        """Writes core.onnx and fp32.onnx, the contract's form of it, and checks that it answers as torch does."""
        model = export_core(self.network, self.settings.size)
        write_atomically(self.core, model.SerializeToString())
        logits, _ = predict(self.network, self.data.val, tta=self.settings.tta)
        calibration = self._calibrated(logits)
        self._write(self.fp32, model, logits, calibration, {"recipe": "none: fp32"})
        check_parity(self.fp32, self.data.val.pixels(slice(0, 256)), calibration.probabilities(logits[:256]))
        return self.fp32

    def promise(self, tta: Tta | None = None, **given: float | None) -> None:
        """Changes what the files of this run shall promise, and how they look at a picture; None leaves as it is."""
        words = {key: value for key, value in given.items() if value is not None}
        promises = Promises.model_validate(self.settings.promises.model_dump() | words)
        self.settings = self.settings.model_copy(update={"promises": promises, "tta": tta or self.settings.tta})
        write_atomically(self.folder / "settings.json", self.settings.model_dump_json(indent=1).encode())

    def quantize(self, limits: Limits | None = None, aware_epochs: int = 0) -> tuple[Path, ModelCard]:
        """Writes int8.onnx from core.onnx: the best of all ways to quantize, whether or not it should ship.

        aware_epochs also trains the network so long to bear rounding, and tries the same ways with that.
        """
        if not self.core.exists():
            raise InputError(f"{self.folder}: has no core.onnx; export the run first")
        limits = limits or Limits()
        data, scaling, fit_settings = self.data, self.network.scaling, self.settings.fit
        cores = {"": onnx.load(self.core)}
        if aware_epochs:
            # Asked as a file: more than twice as fast as the network.
            task = self.progress.add_task("asking the network before", total=None)
            before = run_core(cores[""], data.train, scaling, tta=self.settings.tta)
            self.progress.remove_task(task)
            seven_bits = saturates(limits.target)
            network = fit_aware(self.network, data, fit_settings, aware_epochs, seven_bits, before, self.progress)
            cores["aware"] = export_core(network, self.settings.size)
        tta, seed = self.settings.tta, fit_settings.seed
        made = quantize(cores, scaling, data.train, data.val, data.classes, seed, limits, self.progress, tta)
        logits = run_core(made.model, data.val, scaling, tta=tta)
        recipe = {
            "recipe": RECIPE.replace("S8 weights", "7-bit S8 weights") if made.seven_bits else RECIPE,
            "calibration": made.method,
            "ships": made.ships,
            "limits": asdict(limits),
            "aware_epochs": aware_epochs,
            "candidates": [asdict(candidate) for candidate in made.candidates],
        }
        self._write(self.int8, made.model, logits, self._calibrated(logits), recipe)
        return self.int8, Classifier(self.int8, provider="cpu").card

    def ship(self, out: Path) -> tuple[ModelCard, dict[str, Score]]:
        """Measures torch, fp32 and int8 on the test part and writes the best file, with that in its card, to out.

        What the validation part chose ships, unless it loses more than the limit on the test part.
        """
        fp32, int8 = (Classifier(path, provider="cpu").card for path in (self.fp32, self.int8))
        files = {FP32: self.fp32, "int8": self.int8}
        meaning = fp32.calibration
        calibration = Calibration(float(meaning["temperature"]), tuple(meaning.get("offsets", ())))
        scores = compare(self.network, calibration, files, self.data.test, self.settings.tta)
        chosen_before = int8.quantization
        allowed = {"torch", FP32} | ({"int8"} if chosen_before["ships"] != FP32 else set())
        of_allowed = {name: score for name, score in scores.items() if name in allowed}
        chosen = fastest_faithful(of_allowed, float(chosen_before["limits"]["drop"]))
        shipped = int8 if chosen == "int8" else fp32
        test: dict[str, Any] = {"pictures": len(self.data.test), "shipped": chosen}
        tried = {key: chosen_before[key] for key in ("candidates", "limits", "ships")}
        card = shipped.model_copy(
            update={
                "test": test | {name: asdict(score) for name, score in scores.items()},
                "quantization": shipped.quantization | tried,
            }
        )
        write_atomically(out, with_card(onnx.load(files[chosen]), card).SerializeToString())
        return Classifier(out, provider="cpu").card, scores

    def _calibrated(self, logits: np.ndarray) -> Calibration:
        """What logits of the validation part ask for; offsets, too, where labels.csv taught more than the labels."""
        return fit_calibration(logits, self.data.val.labels, offsets=self.data.train.soft)

    def _write(
        self,
        path: Path,
        core: onnx.ModelProto,
        logits: np.ndarray,
        calibration: Calibration,
        quantization: dict[str, Any],
    ) -> None:
        """Dresses a core and writes it with its card. logits are the core's own on the validation part."""
        settings, data, scaling = self.settings, self.data, self.network.scaling
        probabilities = calibration.probabilities(logits)
        now = time.gmtime()
        card = ModelCard(
            format=FORMAT,
            name=settings.name,
            version=time.strftime("%Y%m%d-%H%M%S", now),
            classes=data.classes,
            height=settings.size,
            width=settings.size,
            resize=settings.resize,
            crop_margin=settings.crop_margin,
            calibration={
                "pictures": len(data.val),
                **asdict(calibration),
                "looks": LOOKS[settings.tta],
                "error": calibration_error(probabilities, data.val.labels),
            },
            quantization=quantization,
            dataset={
                "name": Path(settings.dataset).name,
                "fingerprint": data.fingerprint,
                "seed": settings.fit.seed,
                "group": settings.group,
                "split": data.split,
                "pictures": data.counts(),
                "skipped": len(data.skipped),
                "learnt": remember(data.learnt),
            },
            training=settings.fit.model_dump(mode="json"),
            libraries={"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
        )
        front = Front((scaling.zero,), (scaling.divisor,))
        side, classes = settings.size, len(data.classes)
        model = dress(core, side, side, front, classes, calibration=calibration, tta=settings.tta)
        write_model(model, card, path)
        # What the file itself sees of known pictures tells it what a stranger is, and what it can promise.
        promises = settings.promises
        novelty = learn_novelty(_on_all_cores(path), data.train, data.val, promises.false_alarms, settings.fit.seed)
        card = card.model_copy(update={"novelty": novelty})
        write_model(model, card, path)
        answers = answer(_on_all_cores(path), data.val, self.progress)
        write_model(model, promised(card, answers, data.val.labels, promises), path)


def _on_all_cores(path: Path) -> Classifier:
    return Classifier(path, provider="cpu", threads=torch.get_num_threads())


def _holds_a_run(folder: Path) -> bool:
    return (folder / "settings.json").exists() and {path.name for path in folder.iterdir()} != {"settings.json"}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be made ({error.strerror})") from None
