"""Runs on a server, governed or not, by MLflow's REST API.

https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from governance.base.errors import StorageError
from governance.registry.display import param_texts
from governance.registry.port import DatasetLink, LoggedModel, Point, RunStatus
from governance.registry.rest import RegistryServer
from governance.registry.rows import Rows
from governance.registry.runs import DIGEST, PROCESS_TAG, NewRun
from governance.registry.table_runs import described, short_digest

PAGE = 200
MAX_PAGES = 50


class ServedRuns:
    """See `governance.registry.runs.RunStore`. The account is that of `RegistryServer`."""

    def __init__(self, uri: str, environ: Mapping[str, str]) -> None:
        self._server = RegistryServer(uri, environ)
        self.where = uri

    def rows(self, model: str) -> Rows:
        """See `RunStore`."""
        return self._server.rows_of(model, located=False)

    def experiment(self, project: str, at: int) -> str:
        """See `RunStore`."""
        found = self._experiment(project)
        if found is None:
            with suppress(StorageError):  # another process may have made it
                self._server.call("POST", "experiments/create", {"name": project})
            found = self._experiment(project)
        if found is None:
            raise StorageError(f"the server has no experiment {project!r}", where=self.where)
        if found.get("lifecycle_stage") == "deleted":
            restored = {"experiment_id": found["experiment_id"]}
            self._server.call("POST", "experiments/restore", restored)
        return str(found["experiment_id"])

    def _experiment(self, project: str) -> dict[str, Any] | None:
        answer = self._server.get("experiments/get-by-name", experiment_name=project)
        return _object(answer, "experiment") or None

    def create(self, experiment: str, new: NewRun) -> str:
        """See `RunStore`."""
        body = {
            "experiment_id": experiment,
            "user_id": new.user,
            "run_name": new.name,
            "start_time": new.at,
            "tags": _pairs(new.tags),
        }
        answer = self._server.call("POST", "runs/create", body)
        run_id = str(_object(_object(answer, "run"), "info").get("run_id") or "")
        if not run_id:
            raise StorageError("the answer is not a registry's", where=self.where)
        if new.datasets or new.scores:
            inputs = {
                "run_id": run_id,
                "datasets": [_dataset(link) for link in new.datasets],
                "models": [{"model_id": new.scores}] if new.scores else [],
            }
            self._server.call("POST", "runs/log-inputs", inputs)
        return run_id

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """See `RunStore`."""
        self._server.call("POST", "runs/log-batch", {"run_id": run_id, "params": _pairs(params)})

    def log_points(
        self, run_id: str, points: Sequence[Point], model: str | None, data: DatasetLink | None
    ) -> None:
        """See `RunStore`."""
        about: dict[str, str] = {"model_id": model} if model else {}
        if model and data:
            about |= {"dataset_name": data.name, "dataset_digest": short_digest(data)}
        metrics = [
            {
                "key": point.name,
                "value": point.value,
                "timestamp": point.at,
                "step": point.step,
                **({} if point.name.startswith("system/") else about),
            }
            for point in points
        ]
        self._server.call("POST", "runs/log-batch", {"run_id": run_id, "metrics": metrics})

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        """See `RunStore`."""
        self._server.call("POST", "runs/set-tag", {"run_id": run_id, "key": name, "value": value})

    def finish(self, run_id: str, status: RunStatus, at: int) -> None:
        """See `RunStore`."""
        body = {"run_id": run_id, "status": status, "end_time": at}
        self._server.call("POST", "runs/update", body)

    def running(self, experiment: str) -> Mapping[str, str]:
        """See `RunStore`."""
        return {
            str(_object(run, "info").get("run_id")): tags.get(PROCESS_TAG, "")
            for run in self._running(experiment)
            if (tags := _tags(_object(run, "data")))
        }

    def _running(self, experiment: str) -> Iterator[dict[str, Any]]:
        body: dict[str, Any] = {
            "experiment_ids": [experiment],
            "filter": "attributes.status = 'RUNNING'",
            "max_results": PAGE,
        }
        for _ in range(MAX_PAGES):
            answer = self._server.call("POST", "runs/search", body)
            yield from _list(answer, "runs")
            token = answer.get("next_page_token") if isinstance(answer, dict) else None
            if not token:
                return
            body["page_token"] = token

    def make_model(self, experiment: str, run_id: str, model: LoggedModel, at: int) -> str:
        """See `RunStore`."""
        body = {
            "experiment_id": experiment,
            "name": model.name,
            "source_run_id": run_id,
            "tags": _pairs({DIGEST: model.digest}),
            "params": _pairs(param_texts(model.params)),
        }
        answer = self._server.call("POST", "logged-models", body)
        model_id = str(_object(_object(answer, "model"), "info").get("model_id") or "")
        ready = {"model_id": model_id, "status": "LOGGED_MODEL_READY"}
        self._server.call("PATCH", f"logged-models/{model_id}", ready)
        made = {"run_id": run_id, "models": [{"model_id": model_id, "step": 0}]}
        self._server.call("POST", "runs/outputs", made)
        return model_id

    def find_model(self, experiment: str, digest: str) -> str | None:
        """See `RunStore`."""
        body = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{DIGEST}` = '{digest}'",
            "max_results": 1,
            "order_by": [{"field_name": "creation_timestamp", "ascending": False}],
        }
        answer = self._server.call("POST", "logged-models/search", body)
        found = [_object(model, "info").get("model_id") for model in _list(answer, "models")]
        return str(found[0]) if found and found[0] else None

    def tag_model(self, experiment: str, model_id: str, name: str, value: str) -> None:
        """See `RunStore`."""
        body = {"model_id": model_id, "tags": _pairs({name: value})}
        self._server.call("PATCH", f"logged-models/{model_id}/tags", body)


def _dataset(link: DatasetLink) -> dict[str, Any]:
    tags = _pairs({"mlflow.data.context": link.context})
    return {"dataset": described(link), "tags": tags}


def _pairs(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in sorted(texts.items())]


def _tags(data: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag.get("key")): str(tag.get("value")) for tag in _list(data, "tags")}


def _object(value: Any, name: str) -> dict[str, Any]:
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, dict) else {}


def _list(value: Any, name: str) -> list[dict[str, Any]]:
    members = value.get(name) if isinstance(value, dict) else None
    rows = members if isinstance(members, list) else []
    return [row for row in rows if isinstance(row, dict)]
