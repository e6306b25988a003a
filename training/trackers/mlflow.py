"""A run in MLflow: parameters, metrics, artefacts, and the ONNX file registered as a model.

Without a server everything goes to mlflow.db and mlflow-artifacts beside the run folder;
`mlflow server --backend-store-uri sqlite:///runs/mlflow.db` shows it.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from edge.model import Classifier
from training.trackers.common import SAMPLES, beside, figures_of, flat, matrix_picture

if TYPE_CHECKING:
    from training.checkpoint import Epoch

EXPERIMENT = "sortline"
RUN_FILE = "mlflow-run.txt"
FILES = ("settings.json", "history.json", SAMPLES)
LONGEST = 6000  # characters of a parameter that MLflow keeps


class Mlflow:
    """A Tracker that writes to an MLflow server, or to a local database; uri as MLflow takes it.

    Without a uri it is the one that MLflow was set to (MLFLOW_TRACKING_URI), else the local one.
    """

    def __init__(self, uri: str | None = None) -> None:
        # By default a lost server is asked again for minutes at every call, and a training waits.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        self._uri = uri or (mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None)
        self._client: MlflowClient | None = None
        self._run = ""
        self._folder = Path()
        self._classes: Sequence[str] = ()
        self._last = 0

    def start(self, folder: Path, settings: Mapping[str, Any], classes: Sequence[str], done: Sequence["Epoch"]) -> None:
        self._folder, self._classes, self._last = folder, classes, len(done)
        beside_runs = folder.resolve().parent
        uri = self._uri or f"sqlite:///{beside_runs / 'mlflow.db'}"
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        known = folder / RUN_FILE
        if done and known.exists():
            self._run = known.read_text().strip()
            client.update_run(self._run, status="RUNNING")
        else:
            experiment = client.get_experiment_by_name(EXPERIMENT)
            place = None if self._uri else (beside_runs / "mlflow-artifacts").as_uri()
            number = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, place)
            self._run = client.create_run(number, run_name=folder.name).info.run_id
            known.write_text(self._run + "\n")
            words = {"classes": ", ".join(classes)} | flat(settings)
            client.log_batch(self._run, params=[Param(key, value[:LONGEST]) for key, value in words.items()])
        self._client = client

    def epoch(self, line: "Epoch", confusion: np.ndarray) -> None:
        self._log(figures_of(line), line.number)
        picture = matrix_picture(confusion, self._classes)
        self._open().log_image(self._run, picture, key="confusion_validation", step=line.number)
        self._last = line.number

    def model(self, path: Path, figures: Mapping[str, float]) -> None:
        """Logs the file byte for byte as an MLflow model of the onnx flavour, and registers it under its name."""
        client, card = self._open(), Classifier(path, provider="cpu").card
        self._log({f"test/{name}": value for name, value in figures.items()}, self._last)
        for file in beside(path):
            client.log_artifact(self._run, str(file), "report")
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copyfile(path, Path(scratch, path.name))
            description = Model(artifact_path="model", run_id=self._run)
            description.add_flavor(
                "onnx", onnx_version=version("onnx"), data=path.name, providers=["CPUExecutionProvider"]
            )
            description.save(str(Path(scratch, "MLmodel")))
            client.log_artifacts(self._run, scratch, "model")
        try:
            client.create_registered_model(card.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{client.get_run(self._run).info.artifact_uri}/model"
        tags = {"version": card.version, "classes": ", ".join(card.classes)[:LONGEST]}
        client.create_model_version(card.name, source, self._run, tags=tags, await_creation_for=30)

    def end(self, failed: bool = False) -> None:
        if self._client is None:
            return
        client, self._client = self._client, None
        for name in FILES:
            if (self._folder / name).is_file():
                client.log_artifact(self._run, str(self._folder / name))
        client.set_terminated(self._run, "FAILED" if failed else "FINISHED")

    def _log(self, figures: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1e3)  # the wall clock: MLflow shows when a figure came
        self._open().log_batch(self._run, metrics=[Metric(name, float(v), now, step) for name, v in figures.items()])

    def _open(self) -> MlflowClient:
        assert self._client is not None, "start comes first"
        return self._client
