"""The stores in this process: the write-once files, and the guard below the methods."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

from governance.base.errors import RefusedError, StorageError
from governance.registry.governed.artifact_store import WriteOnceArtifactRepository
from governance.registry.governed.governor import Governor, Shown, Snapshot
from governance.registry.governed.limit import Limit
from governance.registry.governed.names import Names
from governance.registry.governed.paths import checked
from governance.registry.governed.registry_store import GovernedRegistryStore, call_of
from governance.registry.governed.rules import Call
from governance.registry.rows import NewVersion, make_version

MODEL, RUN = "support-desk", "0" * 32
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SOURCE = f"mlflow-artifacts:/0/{RUN}/artifacts/model"


class Desk:
    """Promotes nobody, and writes down what was refused and what was let through."""

    def __init__(self) -> None:
        self.database = Path()
        self.digest: str | None = "ab" * 32
        self.known = Names(frozenset(), frozenset())
        self.said: list[tuple[str, str]] = []
        self.accepted: list[tuple[str, str | None, str]] = []
        self.holders: dict[tuple[str, str], str] = {}

    def snapshot(self) -> Snapshot:
        return Snapshot(self.known, frozenset({(MODEL, "1")}), frozenset(), self.holders)

    def knows(self, model: str, version: str) -> bool:
        return (model, version) == (MODEL, "1")

    def corrected(self, call: Call, caller: str) -> bool:
        return False

    def shown(self, model: str) -> dict[str, Shown]:
        return {}

    def digest_of(self, folder: str) -> str | None:
        return self.digest

    def caller(self) -> str:
        return "ann"

    def promote(self, call: Call, caller: str, keep: bool) -> None:
        raise RefusedError("nobody asked for it")

    def made(self, call: Call, new: NewVersion, caller: str) -> str:
        with sqlite3.connect(self.database) as database:
            make_version(
                lambda statement, values: database.execute(statement, tuple(values)).fetchall(),
                new,
                1,
                AT,
            )
        self.accepted.append((new.model, "1", ""))
        return "1"

    def moved(self, call: Call, caller: str) -> None:
        self.accepted.append((call.model, call.version, call.alias or ""))

    def unreadable(self, path: str, caller: str) -> tuple[str, str]:
        return "", ""

    def reads(self, path: str, caller: str) -> None:
        """Not recorded."""

    def refused(self, operation: str, model: str, caller: str, reason: str) -> None:
        self.said.append((operation, model))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def store(mlflow_tables: Path, tmp_path: Path, desk: Desk) -> GovernedRegistryStore:
    path = tmp_path / "registry.db"
    path.write_bytes(mlflow_tables.read_bytes())
    names = Names(frozenset({MODEL}), frozenset({"champion"}))
    refused, accepted = Limit(lambda: AT), Limit(lambda: AT, 4)
    desk.known = names
    governor = Governor(desk, refused, accepted)
    desk.database = path
    made = GovernedRegistryStore(f"sqlite:///{path}", governor)
    for name in (MODEL, "chat"):
        made.create_registered_model(name)
        made.create_model_version(name, SOURCE, RUN)
    return made


def test_what_is_not_governed_works_as_ever(store: GovernedRegistryStore) -> None:
    store.set_registered_model_alias("chat", "champion", "1")
    store.set_model_version_tag("chat", "1", ModelVersionTag("team", "y"))
    store.rename_registered_model("chat", "talk")
    assert store.get_model_version_by_alias("talk", "champion").version == 1
    store.delete_model_version("talk", "1")
    store.delete_registered_model("talk")


def test_a_governed_alias_is_read_only_where_the_log_gives_it(
    store: GovernedRegistryStore, desk: Desk
) -> None:
    """The rows are from before the name was governed."""
    desk.known = Names(frozenset(), frozenset())
    for alias in ("champion", "Champion", "candidate"):
        store.set_registered_model_alias(MODEL, alias, "1")
    desk.known = Names(frozenset({MODEL}), frozenset({"champion"}))
    for alias in ("champion", "Champion"):
        with pytest.raises(MlflowException, match=r"the registry gives .*hampion of support-desk"):
            store.get_model_version_by_alias(MODEL, alias)
    assert store.get_model_version_by_alias(MODEL, "candidate").version == 1
    desk.holders[MODEL, "champion"] = "1"
    assert store.get_model_version_by_alias(MODEL, "champion").version == 1
    desk.holders[MODEL, "champion"] = "2"
    with pytest.raises(MlflowException, match="expected: version 2"):
        store.get_model_version_by_alias(MODEL, "champion")
    assert desk.said == [], "reading writes nothing"


def test_an_alias_that_moves_all_the_time_is_not_given_out(
    store: GovernedRegistryStore, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.known = Names(frozenset(), frozenset())
    store.set_registered_model_alias(MODEL, "champion", "1")
    desk.known = Names(frozenset({MODEL}), frozenset({"champion"}))
    others, read = count(2), desk.snapshot

    def moved() -> Snapshot:
        desk.holders = {(MODEL, "champion"): str(next(others))}
        return read()

    monkeypatch.setattr(desk, "snapshot", moved)
    with pytest.raises(MlflowException, match="moves all the time"):
        store.get_model_version_by_alias(MODEL, "champion")


def test_what_people_write_beside_a_governed_version(store: GovernedRegistryStore) -> None:
    store.set_model_version_tag(MODEL, "1", ModelVersionTag("team", "desk"))
    store.delete_model_version_tag(MODEL, "1", "team")
    store.set_registered_model_tag(MODEL, RegisteredModelTag("team", "desk"))
    store.delete_registered_model_tag(MODEL, "team")
    store.update_registered_model(MODEL, "the desk's model")
    store.set_registered_model_alias(MODEL, "candidate", "1")
    store.delete_registered_model_alias(MODEL, "candidate")


@pytest.mark.parametrize(
    "version", ["1", "01", " 1\n", "+1", "\uff11", "1_", "one", "", "9" * 5000]
)
def test_a_version_that_the_log_knows_is_not_deleted_however_it_is_written(
    store: GovernedRegistryStore, version: str
) -> None:
    with pytest.raises(MlflowException):
        store.delete_model_version(MODEL, version)
    assert store.get_model_version(MODEL, "1").current_stage == "None"


def test_what_is_let_through_is_bounded_too(store: GovernedRegistryStore, desk: Desk) -> None:
    """Each is an entry of the log that everybody reads; what others do, or other calls, is counted
    apart.
    """
    for _ in range(4):
        store.set_registered_model_alias(MODEL, "candidate", "1")
    with pytest.raises(MlflowException, match="ann made 4 such calls within the hour"):
        store.set_registered_model_alias(MODEL, "candidate", "1")
    store.delete_registered_model_alias(MODEL, "candidate")
    assert desk.said == [("set_registered_model_alias", MODEL)]


def _session(change: Callable[[Any, Any], Any]) -> Callable[[GovernedRegistryStore], None]:
    """Somebody with MLflow's own session, past our methods."""

    def attack(store: GovernedRegistryStore) -> None:
        from mlflow.store.model_registry.dbmodels import models

        with store.ManagedSessionMaker(read_only=False) as session:
            change(session, models)

    return attack


def _alias_row(session: Any, models: Any) -> None:
    session.add(
        models.SqlRegisteredModelAlias(workspace="default", name=MODEL, alias="champion", version=1)
    )


def _version_row(session: Any, models: Any) -> None:
    session.add(
        models.SqlModelVersion(workspace="default", name=MODEL, version=7, source="s3://evil")
    )


def _rename(session: Any, models: Any) -> None:
    session.query(models.SqlRegisteredModel).filter_by(name=MODEL).one().name = "other"


def _renamed_into(session: Any, models: Any) -> None:
    session.query(models.SqlRegisteredModel).filter_by(name="chat").one().name = "Support-Desk"


def _source(session: Any, models: Any) -> None:
    session.query(models.SqlModelVersion).filter_by(name=MODEL).one().source = "s3://evil"


def _deleted(session: Any, models: Any) -> None:
    session.delete(session.query(models.SqlModelVersion).filter_by(name=MODEL).one())


def _tag(session: Any, models: Any) -> None:
    session.merge(
        models.SqlModelVersionTag(
            workspace="default", name=MODEL, version=1, key="governance.x", value="y"
        )
    )


def _bulk_update(session: Any, models: Any) -> None:
    session.query(models.SqlModelVersion).filter_by(name=MODEL).update({"source": "s3://evil"})


def _bulk_delete(session: Any, models: Any) -> None:
    session.query(models.SqlModelVersion).filter_by(name=MODEL).delete()


def _text(statement: str) -> Callable[[Any, Any], Any]:
    return lambda session, models: session.execute(sqlalchemy.text(statement))


PAST: dict[str, Callable[[Any, Any], Any]] = {
    "alias": _alias_row,
    "version": _version_row,
    "rename": _rename,
    "rename into": _renamed_into,
    "source": _source,
    "delete": _deleted,
    "tag": _tag,
    "bulk update": _bulk_update,
    "bulk delete": _bulk_delete,
    "text": _text("UPDATE model_versions SET source = 's3://evil'"),
    "text with a comment": _text("/* x */ UPDATE model_versions SET source = 's3://evil'"),
    "text of inserts": _text(
        "INSERT INTO registered_model_aliases (workspace, name, alias, version)"
        " VALUES ('default', 'support-desk', 'champion', 1)"
    ),
    "text after with": _text("WITH x AS (SELECT 1) UPDATE model_versions SET source = 's3://evil'"),
    "dropped": _text("DROP TABLE registered_model_aliases"),
    "a trigger": _text(
        "CREATE TRIGGER x AFTER INSERT ON runs BEGIN UPDATE model_versions SET source ="
        " 's3://evil'; END"
    ),
}


@pytest.mark.parametrize("row", PAST)
def test_the_guard_catches_what_goes_past_the_methods(
    row: str, store: GovernedRegistryStore, desk: Desk
) -> None:
    with pytest.raises(MlflowException) as refused:
        _session(PAST[row])(store)
    assert "Countersign refuses" in str(refused.value)
    found = store.get_model_version(MODEL, "1")
    digest = {"countersign.digest": "ab" * 32}
    assert (found.source, found.aliases, found.tags) == (SOURCE, [], digest)
    assert len(store.search_model_versions(f"name = '{MODEL}'")) == 1
    assert desk.said


def test_the_guard_is_there_after_a_refusal_and_after_a_permitted_write(
    store: GovernedRegistryStore,
) -> None:
    for _ in range(2):
        store.set_model_version_tag(MODEL, "1", ModelVersionTag("team", "desk"))
        with pytest.raises(MlflowException):
            _session(PAST["alias"])(store)
        with pytest.raises(MlflowException):
            _session(PAST["text"])(store)


def test_names_that_cannot_be_read_close_everything(
    store: GovernedRegistryStore, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance.base.errors import StorageError

    def gone() -> Snapshot:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(desk, "snapshot", gone)
    for call in (
        lambda: store.create_registered_model("innocent"),
        lambda: store.set_registered_model_alias("chat", "x", "1"),
        lambda: store.rename_registered_model("chat", "y"),
    ):
        with pytest.raises(MlflowException, match="not available") as refused:
            call()
        assert refused.value.get_http_status_code() == 503


# -- Files -----------------------------------------------------------------------------------------
class Around:
    """The stores around a folder of artifacts: which folders are closed, where a run's files are."""

    def __init__(self, closed: frozenset[str]) -> None:
        self.closed = closed
        self.said: list[str] = []
        self.governor = self

    def version_folders(self) -> frozenset[str]:
        return self.closed

    def place_of(self, run: str) -> str | None:
        return f"mlflow-artifacts:/0/{RUN}/artifacts" if run == RUN else None

    def refuse(self, operation: str, model: str, reason: str, next: str) -> None:
        self.said.append(operation)

    def read(self, path: str, *, lists: bool = False) -> None:
        """Everybody may read."""


@pytest.fixture
def files(tmp_path: Path) -> WriteOnceArtifactRepository:
    """`said` has the operations that were refused and recorded."""
    stores = Around(frozenset({f"0/{RUN}/artifacts/model"}))
    made = WriteOnceArtifactRepository(
        f"governed+{(tmp_path / 'artifacts').as_uri()}", stores=lambda: (stores, stores)
    )
    made.said = stores.said
    return made


def _put(files: WriteOnceArtifactRepository, path: str, data: bytes) -> None:
    import io

    folder, _, name = path.rpartition("/")
    files.log_artifact_from_stream(io.BytesIO(data), name, folder or None)


def test_a_file_is_written_once(files: WriteOnceArtifactRepository, tmp_path: Path) -> None:
    _put(files, "1/x/config.json", b"one")
    _put(files, "1/x/config.json", b"one")
    with pytest.raises(MlflowException, match="written once") as refused:
        _put(files, "1/x/config.json", b"two")
    assert refused.value.get_http_status_code() == 403
    stored = tmp_path / "artifacts/1/x/config.json"
    assert stored.read_bytes() == b"one"
    assert stored.stat().st_nlink == 1 and stored.stat().st_mode & 0o222 == 0
    assert list((tmp_path / "artifacts/.incoming").iterdir()) == []
    assert [one.path for one in files.list_artifacts()] == ["1"]


def test_nothing_is_deleted(files: WriteOnceArtifactRepository) -> None:
    _put(files, "1/x/config.json", b"one")
    for path in (None, "1", "1/x/config.json"):
        with pytest.raises(MlflowException, match="never deleted"):
            files.delete_artifacts(path)
    assert files.said == ["delete artifact"] * 3


def test_a_registered_folder_is_closed(files: WriteOnceArtifactRepository, tmp_path: Path) -> None:
    for path in ("extra.json", "sub/extra.json", "sub/deep/x"):
        with pytest.raises(MlflowException, match="closed"):
            _put(files, f"0/{RUN}/artifacts/model/{path}", b"x")
    assert not (tmp_path / f"artifacts/0/{RUN}/artifacts/model").exists()
    for place in ("1/", "00/", ""):
        with pytest.raises(MlflowException, match="the files of the run are below"):
            _put(files, f"{place}{RUN}/artifacts/model/config.json", b"x")
    _put(files, f"0/{RUN}/artifacts/report/page.html", b"x")


def test_a_folder_is_published_file_by_file(
    files: WriteOnceArtifactRepository, tmp_path: Path
) -> None:
    (tmp_path / "model/sub").mkdir(parents=True)
    (tmp_path / "model/a.json").write_text("{}")
    (tmp_path / "model/sub/b.json").write_text("{}")
    (tmp_path / "model/link.json").symlink_to("a.json")
    files.log_artifacts(str(tmp_path / "model"), "1/m")
    stored = tmp_path / "artifacts/1/m"
    assert sorted(str(path.relative_to(stored)) for path in stored.rglob("*.json")) == [
        "a.json",
        "sub/b.json",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "a/../x",
        "/etc/x",
        "a/%2e%2e/x",
        "%252e%252e/x",
        "a\\x",
        "C:x",
        "a/./x",
        "a/\u200b/x",
        "a/x\n",
        "a/ x",
        ".incoming/x",
        "a/.INCOMING/x",
        "a/.artifact.uploading.x",
        "%2563onfig.json",
        "a//../x",
        "\0",
        "x" * 256,
        "é" * 128,
        "a/" * 1024 + "x",
    ],
)
def test_a_path_that_is_not_plain(path: str, files: WriteOnceArtifactRepository) -> None:
    with pytest.raises(RefusedError):
        checked(path)
    with pytest.raises(MlflowException):
        _put(files, path, b"x")
    for read in (files.get_local_path, files.list_artifacts):
        with pytest.raises(MlflowException):
            read(path)


def test_links_and_pipes_are_not_followed(
    files: WriteOnceArtifactRepository, tmp_path: Path
) -> None:
    _put(files, "1/x/config.json", b"one")
    root = tmp_path / "artifacts"
    (root / "1/out").symlink_to("/etc")
    (root / "1/x/passwd").symlink_to("/etc/passwd")
    os.mkfifo(root / "1/x/pipe")
    for path in ("1/out/passwd", "1/x/passwd", "1/x/pipe"):
        with pytest.raises(MlflowException, match="link or no plain file"):
            files.get_local_path(path)
        with pytest.raises(MlflowException):
            _put(files, path, b"x")
    with pytest.raises(MlflowException):
        files.list_artifacts("1/out")


def test_nothing_stands_below_a_file(files: WriteOnceArtifactRepository) -> None:
    _put(files, "1/x/config.json", b"one")
    for call in (lambda path: _put(files, path, b"x"), files.get_local_path, files.list_artifacts):
        with pytest.raises(MlflowException, match="a part of it is a file"):
            call("1/x/config.json/y")


def test_of_many_writers_one_wins(files: WriteOnceArtifactRepository, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def put(number: int) -> bool:
        try:
            _put(files, "1/x/config.json", f"{number}".encode() * 1000)
        except MlflowException:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert (tmp_path / "artifacts/1/x/config.json").read_text() == str(won.index(True)) * 1000


def test_a_parameter_that_nobody_has_looked_at_stops_the_call() -> None:
    """A newer MLflow may name a model, a tag or a version by a parameter that no rule reads."""
    with pytest.raises(StorageError, match="swap_with"):
        call_of("set_model_version_tag", {"name": MODEL, "version": "1", "swap_with": "chat"})


def test_the_digest_of_a_version_is_that_of_its_files(
    store: GovernedRegistryStore, desk: Desk
) -> None:
    """Whoever made a version with the digest of another would be taken for it."""
    other = [ModelVersionTag("countersign.digest", "cd" * 32)]
    for model in (MODEL, "chat"):
        with pytest.raises(MlflowException, match="the files have the digest abab"):
            store.create_model_version(model, SOURCE, RUN, other)
    assert store.get_model_version(MODEL, "1").tags == {"countersign.digest": "ab" * 32}
    own = [ModelVersionTag("countersign.digest", "ab" * 32)]
    made = store.create_model_version("chat", SOURCE, RUN, own)
    assert store.get_model_version("chat", made.version).tags == {"countersign.digest": "ab" * 32}
    desk.digest = None
    with pytest.raises(MlflowException, match="the files have the digest none"):
        store.create_model_version(MODEL, SOURCE, RUN, own)


@pytest.mark.parametrize("model", [MODEL, "chat"])
@pytest.mark.parametrize(
    "key", ["governance.status", "countersign.x", "Governance.x", " governance.x"]
)
def test_our_tags_are_nobody_elses_on_any_model(
    store: GovernedRegistryStore, desk: Desk, model: str, key: str
) -> None:
    for attack in (
        lambda: store.set_model_version_tag(model, "1", ModelVersionTag(key, "y")),
        lambda: store.set_registered_model_tag(model, RegisteredModelTag(key, "y")),
        lambda: store.delete_registered_model_tag(model, key),
        lambda: store.delete_model_version_tag(model, "1", key),
        lambda: store.create_model_version(model, SOURCE, RUN, [ModelVersionTag(key, "y")]),
        lambda: store.create_registered_model("fresh", [RegisteredModelTag(key, "y")]),
        lambda: store.create_prompt("fresh", tags={key: "y"}),
        lambda: store.set_prompt_tag("chat", key, "y"),
    ):
        before = len(desk.said)
        with pytest.raises(MlflowException, match="only the server writes tags"):
            attack()
        assert len(desk.said) == before + 1


def test_a_new_model_has_a_slug_as_its_name(store: GovernedRegistryStore) -> None:
    for attack in (
        lambda: store.create_registered_model("My Model"),
        lambda: store.create_prompt("Greeting.v1"),
        lambda: store.rename_registered_model("chat", "Chat"),
        lambda: store.copy_model_version(store.get_model_version("chat", "1"), "Chat"),
    ):
        with pytest.raises(MlflowException, match="begins with a letter"):
            attack()


def test_a_model_of_an_older_database_can_be_read_renamed_and_deleted(
    store: GovernedRegistryStore, desk: Desk
) -> None:
    with sqlite3.connect(desk.database) as database:
        for name in ("Old Model", "Older Model"):
            database.execute(
                "INSERT INTO registered_models (workspace, name) VALUES ('default', ?)", [name]
            )
    assert store.get_registered_model("Old Model").name == "Old Model"
    for attack in (
        lambda: store.set_registered_model_tag("Old Model", RegisteredModelTag("team", "x")),
        lambda: store.create_model_version("Old Model", SOURCE, RUN),
    ):
        with pytest.raises(MlflowException, match="of an older database"):
            attack()
    store.rename_registered_model("Old Model", "old-model")
    store.delete_registered_model("Older Model")
    assert {"old-model"} == {
        model.name for model in store.search_registered_models() if "old" in model.name.lower()
    }


def _tracking_store(store: GovernedRegistryStore, desk: Desk, folder: Path) -> Any:
    from governance.registry.governed.tracking_store import GovernedTrackingStore

    return GovernedTrackingStore(f"sqlite:///{desk.database}", folder.as_uri(), store.governor)


KEY = "countersign.approved"


def test_our_tags_are_nobody_elses_on_any_object(
    store: GovernedRegistryStore, desk: Desk, tmp_path: Path
) -> None:
    from mlflow.entities import (
        Dataset,
        DatasetInput,
        ExperimentTag,
        InputTag,
        LoggedModelTag,
        RunTag,
    )  # fmt: skip

    runs = _tracking_store(store, desk, tmp_path)
    run = runs.create_run("0", "ann", 0, [RunTag("team", "desk")], "run").info.run_id
    model = runs.create_logged_model("0", "mine", run).model_id
    dataset = Dataset("d", "1" * 8, "countersign", "{}")
    attacks: dict[str, Callable[[], Any]] = {
        "create_run": lambda: runs.create_run("0", "ann", 0, [RunTag(KEY, "x")], "run"),
        "set_tag": lambda: runs.set_tag(run, RunTag(KEY, "x")),
        "delete_tag": lambda: runs.delete_tag(run, KEY),
        "log_batch": lambda: runs.log_batch(run, [], [], [RunTag(KEY, "x")]),
        "log_inputs": lambda: runs.log_inputs(run, [DatasetInput(dataset, [InputTag(KEY, "x")])]),
        "create_experiment": lambda: runs.create_experiment("x", tags=[ExperimentTag(KEY, "x")]),
        "set_experiment_tag": lambda: runs.set_experiment_tag("0", ExperimentTag(KEY, "x")),
        "delete_experiment_tag": lambda: runs.delete_experiment_tag("0", KEY),
        "create_logged_model": lambda: runs.create_logged_model(
            "0", "x", run, [LoggedModelTag(KEY, "x")]
        ),
        "set_logged_model_tags": lambda: runs.set_logged_model_tags(
            model, [LoggedModelTag(KEY, "x")]
        ),
        "delete_logged_model_tag": lambda: runs.delete_logged_model_tag(model, KEY),
        "deprecated_start_trace_v2": lambda: runs.deprecated_start_trace_v2("0", 0, {}, {KEY: "x"}),
        "set_trace_tag": lambda: runs.set_trace_tag("tr-1", KEY, "x"),
        "delete_trace_tag": lambda: runs.delete_trace_tag("tr-1", KEY),
        "create_dataset": lambda: runs.create_dataset("d", {KEY: "x"}, ["0"]),
        "set_dataset_tags": lambda: runs.set_dataset_tags("d-1", {KEY: "x"}),
        "delete_dataset_tag": lambda: runs.delete_dataset_tag("d-1", KEY),
        "upsert_dataset_records": lambda: runs.upsert_dataset_records(
            "d-1", [{"inputs": {"a": 1}, "tags": {KEY: "x"}}]
        ),
        "set_mcp_server_tag": lambda: runs.set_mcp_server_tag("a/b", KEY, "x"),
        "set_mcp_server_version_tag": lambda: runs.set_mcp_server_version_tag("a/b", "1", KEY, "x"),
    }
    for operation, attack in attacks.items():
        with pytest.raises(MlflowException, match="only the server writes tags"):
            attack()
        assert desk.said[-1] == (operation, "")


@pytest.mark.parametrize("key", ["mlflow.artifactLocation", "mlflow.trace.archiveLocation"])
def test_nobody_says_where_the_files_of_a_trace_are(
    key: str, store: GovernedRegistryStore, desk: Desk, tmp_path: Path
) -> None:
    """MLflow's server reads a trace from the address in its tag, past the write-once folder."""
    runs = _tracking_store(store, desk, tmp_path)
    place = (tmp_path / "elsewhere").as_uri()
    attacks: list[Callable[[], Any]] = [
        lambda: runs.deprecated_start_trace_v2("0", 0, {}, {key: place}),
        lambda: runs.set_trace_tag("tr-1", key, place),
        lambda: runs.delete_trace_tag("tr-1", key),
    ]
    for attack in attacks:
        with pytest.raises(MlflowException, match="where the files of a trace are"):
            attack()
    trace = runs.deprecated_start_trace_v2("0", 0, {}, {"team": "desk"})
    assert trace.tags["mlflow.artifactLocation"] != place


def test_a_tag_of_ours_is_stopped_below_the_methods_too(
    store: GovernedRegistryStore, desk: Desk, tmp_path: Path
) -> None:
    """Whatever method MLflow gains: as a row, in bulk, as an INSERT, and where a key changes."""
    from mlflow.store.tracking.dbmodels import models

    runs = _tracking_store(store, desk, tmp_path)
    run = runs.create_run("0", "ann", 0, [], "run").info.run_id
    tags = models.SqlTag.__table__
    ours = {"run_uuid": run, "key": KEY, "value": "x"}
    attacks: list[Callable[[Any], Any]] = [
        lambda session: session.add(models.SqlTag(**ours)),
        lambda session: session.merge(models.SqlTag(**ours)),
        lambda session: session.bulk_save_objects([models.SqlTag(**ours)]),
        lambda session: session.execute(tags.insert().values([{**ours, "key": "a"}, ours])),
        lambda session: session.execute(tags.insert(), [{**ours, "key": "a"}, ours]),
        lambda session: session.execute(tags.update().values(key=KEY)),
        lambda session: session.add(models.SqlExperimentTag(experiment_id=0, key=KEY, value="x")),
        lambda session: session.add(models.SqlInputTag(input_uuid="a", name=KEY, value="x")),
    ]
    for attack in attacks:
        with (
            pytest.raises(MlflowException, match="only the server writes the tag"),
            runs.ManagedSessionMaker(read_only=False) as session,
        ):
            attack(session)
    assert KEY not in runs.get_run(run).data.tags
