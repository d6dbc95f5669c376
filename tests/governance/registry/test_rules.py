"""Names, rules and the classification of MLflow's methods: no server, no database."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.registry.governed.mutators import (
    MLFLOW_3_18,
    REGISTRY,
    REGISTRY_JUDGED,
    TAG_PARAMETERS,
    TAGGED,
    TRACKING,
    check_classified,
)
from governance.registry.governed.names import (
    TRIAL_MODEL,
    Names,
    begins_with,
    is_plain,
    looks_like,
)
from governance.registry.governed.rules import Call, artifact_folder, judge

MODEL = "support-desk"
NAMES = Names(frozenset({MODEL}), frozenset({"champion"}))
RUN = "0" * 32
REFUSED = (
    "rename_registered_model",
    "delete_registered_model",
    "delete_model_version",
    "transition_model_version_stage",
    "update_model_version",
)
"""Methods that are refused for a governed model, whoever asks."""
WRITTEN_BY_MLFLOW = {"set_model_versions_tags"}
"""Writes `mlflow.modelVersions` of a logged model, whose value is not the caller's."""
GUARDED = ("create_experiment", "delete_run", "delete_experiment", "delete_logged_model")
"""Methods for runs and experiments that the governor judges."""


@pytest.mark.parametrize(
    "name",
    [
        "Support-Desk",
        "SUPPORT-DESK",
        "support-desk ",
        " support-desk",
        "support-desk\n",
        "support-desk\0",
        "support\u200b-desk",
        "support\ufeff-desk",
        "support\u00ad-desk",
        "suppоrt-desk",
        "ѕυррοrt-dеѕk",
        "ｓupport-desk",
        "support_desk",
        "support.desk",
        "supportdesk",
        "support desk",
        "support/desk",
        "supp0rt-desk",
        "support-de5k",
        "support-deśk",
        "suppⲟrt-desk",
        "𝓼upport-desk",
        "ſupport-desk",
        "support–desk",
        "support-de\u0301sk",
    ],
)
def test_what_could_be_taken_for_a_governed_name(name: str) -> None:
    assert looks_like(name, MODEL)
    assert NAMES.resembles(name) == MODEL
    assert not NAMES.is_governed(name)
    assert judge(Call("create_registered_model", name), NAMES).verdict == "refused"


@pytest.mark.parametrize(
    "name", ["chat", "support-desk-2", "support", "desk", "help-desk", "x" * 63]
)
def test_what_is_another_name(name: str) -> None:
    assert NAMES.resembles(name) is None
    assert judge(Call("create_registered_model", name), NAMES).verdict == "allowed"


@pytest.mark.parametrize(
    "name",
    ["my model", "модель", "客服", "Chat", "chat\n", " chat", "ch\u200bat", "chat.v2", "1st", "",
     "-x", "x" * 64, "chat/x", "caf\u00e9", "ｃhat"],
)  # fmt: skip
def test_a_new_name_is_a_slug_whether_governed_or_not(name: str) -> None:
    """Two names that are different look different. A model of an older database can go."""

    def of(operation: str, model: str, **more: str) -> str:
        return judge(Call(operation, model, **more), NAMES).verdict

    assert NAMES.resembles(name) is None
    assert of("create_registered_model", name) == "refused"
    for operation in ("rename_registered_model", "copy_model_version"):
        assert of(operation, "chat", new_name=name) == "refused"
    for operation in (
        "create_model_version", "set_registered_model_alias", "set_model_version_tag",
        "update_registered_model", "transition_model_version_stage",
    ):  # fmt: skip
        assert of(operation, name, alias="x") == "refused", operation
    for operation in ("delete_registered_model", "delete_model_version", "get_latest_versions"):
        assert of(operation, name) == "allowed", operation
    assert of("rename_registered_model", name, new_name="chat") == "allowed"


@pytest.mark.parametrize(
    "name", ["support" + "д" * 20_000 + "z", "д" * 300 + "zzzzzzz", "\u0301" * 20_000, "x" * 50_000]
)
def test_a_name_made_to_take_long_does_not(name: str) -> None:
    """Whoever may create a model chooses its name, and must not choose how long everybody waits."""
    began = time.process_time()
    assert NAMES.resembles(name) is None
    assert time.process_time() - began < 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x" * (30 << 20), MODEL + "\u200b" * (30 << 20)])
def test_a_name_longer_than_any_is_refused_unread(name: str) -> None:
    began = time.process_time()
    for operation in ("create_registered_model", "rename_registered_model"):
        found = judge(Call(operation, MODEL, new_name=name), NAMES)
        assert (found.verdict, len(found.reason + found.next) < 200) == ("refused", True)
    assert (
        judge(Call("set_registered_model_tag", MODEL, tags=(name,)), NAMES).verdict == "allowed"
    ), "MLflow refuses it"
    assert time.process_time() - began < 2


@pytest.mark.slow
@given(st.text(min_size=1, max_size=40))
def test_a_name_is_governed_plain_or_like_none(name: str) -> None:
    assert NAMES.is_governed(name) == (name in (MODEL, TRIAL_MODEL))
    if NAMES.resembles(name) is None and not NAMES.is_governed(name) and is_plain(name):
        assert name.isascii() and name.isprintable()


@given(
    st.sampled_from(MODEL),
    st.sampled_from("\u200b\u200d\u2060\ufeff\u00ad\u0301 \t"),
    st.integers(0, len(MODEL)),
)
def test_an_unseen_character_anywhere_is_a_likeness(_: str, char: str, at: int) -> None:
    name = MODEL[:at] + char + MODEL[at:]
    assert judge(Call("create_registered_model", name), NAMES).verdict == "refused"


@pytest.mark.parametrize(
    "alias",
    [
        "Champion",
        "champion\n",
        "champion ",
        "сhampion",
        "ｃhampion",
        "",
        "latest",
        "1",
        "v1 ",
        "production",
        "-x",
    ],
)
def test_an_alias_that_policy_does_not_name(alias: str) -> None:
    call = Call("set_registered_model_alias", MODEL, version="1", alias=alias)
    assert judge(call, NAMES, registered=True).verdict == "refused"
    away = Call("delete_registered_model_alias", MODEL, alias=alias)
    assert judge(away, NAMES).verdict == "promotion", (
        "it goes only where the log gives it to nobody"
    )


def test_a_governed_alias_is_a_promotion_and_candidate_needs_a_registration() -> None:
    def of(alias: str, registered: bool) -> str:
        call = Call("set_registered_model_alias", MODEL, version="1", alias=alias)
        return judge(call, NAMES, registered=registered).verdict

    assert [of("champion", True), of("champion", False)] == ["promotion", "promotion"]
    assert [of("candidate", True), of("candidate", False)] == ["allowed", "refused"]
    other = Call("set_registered_model_alias", "chat", version="1", alias="champion")
    assert judge(other, NAMES).verdict == "allowed"


@pytest.mark.parametrize(
    "key", ["governance.x", "Governance.X", "gov\u200bernance.x", "gоvernance.x", "countersign.a"]
)
def test_tags_of_ours(key: str) -> None:
    for operation in (
        "set_model_version_tag",
        "delete_model_version_tag",
        "set_registered_model_tag",
    ):
        for model in (MODEL, "chat"):
            assert judge(Call(operation, model, tags=(key,)), NAMES).verdict == "refused"
    assert begins_with(key, ("governance.", "countersign."))
    assert judge(Call("set_model_version_tag", MODEL, tags=("team",)), NAMES).verdict == "allowed"


@pytest.mark.parametrize("key", ["mlflow.prompt.is_prompt", "MLflow.Prompt.text"])
def test_tags_that_make_a_prompt_of_a_model(key: str) -> None:
    """It would stand in no list of models any more."""
    for operation in (
        "set_model_version_tag",
        "set_registered_model_tag",
        "create_registered_model",
    ):
        assert judge(Call(operation, MODEL, tags=(key,)), NAMES).verdict == "refused"
        assert judge(Call(operation, "chat", tags=(key,)), NAMES).verdict == "allowed"
    assert (
        judge(Call("set_registered_model_tag", MODEL, tags=("mlflow.source",)), NAMES).verdict
        == "allowed"
    )


@pytest.mark.parametrize(
    "source",
    [
        "",
        "s3://b/model",
        "file:///etc",
        "hf://x",
        "models:/chat/1",
        "runs:/x/model",
        "/etc/passwd",
        f"mlflow-artifacts://evil/0/{RUN}/artifacts/model",
        f"mlflow-artifacts:/0/{RUN}/artifacts/../model",
        f"mlflow-artifacts:/0/{RUN}/artifacts/",
        f"mlflow-artifacts:/0/{RUN}/artifacts/mo%64el",
        f"mlflow-artifacts:/0/{RUN}/artifacts/model\n",
        f"mlflow-artifacts:/0/{RUN[:-1]}1/artifacts/model",
        f"mlflow-artifacts:/0/{RUN}/model",
        f"mlflow-artifacts:/../{RUN}/artifacts/model",
    ],
)
def test_a_source_that_is_not_the_servers_own(source: str) -> None:
    assert (
        judge(Call("create_model_version", MODEL, source=source, run_id=RUN), NAMES).verdict
        == "refused"
    )


def test_a_source_below_its_own_run() -> None:
    source = f"mlflow-artifacts:/0/{RUN}/artifacts/model"
    assert (
        judge(Call("create_model_version", MODEL, source=source, run_id=RUN), NAMES).verdict
        == "allowed"
    )
    assert (
        judge(Call("create_model_version", MODEL, source=source, run_id=None), NAMES).verdict
        == "refused"
    )
    assert artifact_folder(source) == f"0/{RUN}/artifacts/model"


def test_every_rule_of_the_table_is_kept_for_governed_models() -> None:
    """A method that is neither read nor allowed is refused or guarded by name: a new one falls to
    `refused`.
    """
    for operation in REFUSED:
        assert judge(Call(operation, MODEL, new_name="x"), NAMES).verdict == "refused", operation
    assert judge(Call("swap_registered_models", MODEL), NAMES).verdict == "refused"


def test_a_rename_into_and_out_of_a_governed_name() -> None:
    for one, other in product((MODEL, "chat"), repeat=2):
        expected = "allowed" if (one, other) == ("chat", "chat") else "refused"
        assert (
            judge(Call("rename_registered_model", one, new_name=other), NAMES).verdict == expected
        )


def test_every_method_that_gets_tags_is_judged() -> None:
    """Fails when MLflow gains one: by the parameters in which tags come, or by its name."""
    import inspect

    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as SqlRegistry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as SqlTracking

    def tagged(store: type, table: frozenset[str]) -> set[str]:
        writers = {
            name
            for name in table
            if hasattr(store, name) and not name.startswith(("get_", "search_"))
        }
        return {
            name
            for name in writers
            if TAG_PARAMETERS & set(inspect.signature(getattr(store, name)).parameters)
            or name.endswith(("_tag", "_tags"))
        }

    tracking = tagged(SqlTracking, TRACKING)
    assert tracking - TAGGED == WRITTEN_BY_MLFLOW and tracking >= TAGGED
    prompts = {name for name in tagged(SqlRegistry, REGISTRY) if "prompt" in name}
    assert tagged(SqlRegistry, REGISTRY) - prompts <= REGISTRY_JUDGED


def test_every_table_of_tags_is_guarded() -> None:
    """The name of each ends so, and the column of the key is known."""
    import mlflow.store.model_registry.dbmodels.models
    import mlflow.store.tracking.dbmodels.models  # noqa: F401
    from mlflow.store.db.base_sql_model import Base

    from governance.registry.governed.guard import KEY_COLUMNS

    tables = {name: table for name, table in Base.metadata.tables.items() if "tag" in name}
    assert len(tables) == 11
    for name, table in tables.items():
        assert name.endswith("tags") and KEY_COLUMNS.get(name, "key") in table.columns


def test_every_method_of_mlflows_stores_is_classified() -> None:
    """Fails when MLflow gains a method that nobody has looked at."""
    from mlflow.store.model_registry.abstract_store import AbstractStore as Registry
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as SqlRegistry
    from mlflow.store.tracking.abstract_store import AbstractStore as Tracking
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as SqlTracking

    for store, table in (
        (Registry, REGISTRY),
        (SqlRegistry, REGISTRY),
        (Tracking, TRACKING),
        (SqlTracking, TRACKING),
    ):
        check_classified(store, table)
    for store, table in ((SqlRegistry, REGISTRY), (SqlTracking, TRACKING)):
        assert [n for n in table if n not in MLFLOW_3_18 and not hasattr(store, n)] == []


def test_a_guarded_or_refused_method_is_our_own() -> None:
    """Each is overridden by the store that asks the governor; none is left to MLflow."""
    from governance.registry.governed.registry_store import GovernedRegistryStore
    from governance.registry.governed.tracking_store import GovernedTrackingStore

    assert set(REFUSED) < REGISTRY_JUDGED
    stores = ((GovernedRegistryStore, REGISTRY_JUDGED), (GovernedTrackingStore, GUARDED))
    for store, judged in stores:
        assert [name for name in judged if name not in vars(store)] == []


def test_a_method_that_mlflow_gains_makes_the_store_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    from governance.registry.governed.registry_store import GovernedRegistryStore

    monkeypatch.setattr(SqlAlchemyStore, "swap_aliases", lambda self: None, raising=False)
    with pytest.raises(MlflowException, match="swap_aliases"):
        GovernedRegistryStore("sqlite:///never.db", None)  # type: ignore[arg-type]


def test_the_entry_points_import_without_mlflow() -> None:
    """MLflow drops, with a warning, a plugin that needs it while it is being imported itself."""
    code = "import sys, governance.server.plugin; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
