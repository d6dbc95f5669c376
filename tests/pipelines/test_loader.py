"""The verifying loader: what it loads is what was hashed, whatever happens to the registry's files
meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import manifest, tree_digest
from governance.attest.predicates import Artifact, Promotion, Read, Registration
from governance.base.errors import ConfigError, InputError, RefusedError, VerificationError
from governance.history.state import state
from governance.log import evidence
from governance.machine.machine import signer
from pipelines.loader import Loaded, load
from tests.conftest import ROOT
from tests.governance.governed import RULES, Governed, governed
from tests.governance.story import MODEL, Story
from tests.governance.terminal import key_file

WEIGHTS = 1.5
RUN = "a" * 32


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few thousand parameters, every one of them `WEIGHTS`, with its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from pipelines.training import tokenizer
    from tests.pipelines.tiny import ARCHITECTURE

    folder = tmp_path_factory.mktemp("trained") / "model"
    config = AutoConfig.for_model(**ARCHITECTURE)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(WEIGHTS)
    model.save_pretrained(folder)
    said = [[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]]
    tokenizer.train({"messages": said}, 300).save_pretrained(folder)
    return folder


@pytest.fixture
def scene(tmp_path: Path, trained: Path) -> Governed:
    """The model registered as version 1, candidate, its files in the registry's folder."""
    return registered(governed(tmp_path), trained)


def registered(found: Governed, trained: Path) -> Governed:
    folder = found.story.machine.artifact_root / RUN / "artifacts" / "model"
    shutil.copytree(trained, folder)
    registration = Registration(
        model=MODEL,
        version="7",
        stage="sft",
        tier="limited",
        model_digest=tree_digest(folder),
        files=manifest(folder),
        chain=[],
        policy=found.story.policies.digest,
        run=found.story.run({"registry_run": RUN}),
    )
    what = Artifact(role="model", name="model", sha256=registration.model_digest)
    evidence.record(
        found.story.log, signer(found.story.machine), "registration", [what], registration
    )
    return found


def files(scene: Governed) -> Path:
    return scene.story.machine.artifact_root / RUN / "artifacts" / "model"


def loaded(scene: Governed, **options: Any) -> Loaded:
    return load("models:/support-desk/7", machine=scene.story.machine, **options)


@pytest.mark.slow
def test_it_loads_what_is_registered(scene: Governed, tmp_path: Path) -> None:
    found = loaded(scene, scratch=tmp_path)
    assert {float(one) for p in found.model.parameters() for one in p.detach().flatten()[:3]} == {
        WEIGHTS
    }
    assert (found.version, found.sha256) == ("support-desk/7", tree_digest(files(scene)))
    assert found.tokenizer("hello")["input_ids"]
    assert not list(tmp_path.glob("countersign-model-*"))


def test_the_page_about_serving_shows_what_works(
    scene: Governed,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A champion that people approved."""
    story = scene.story

    def trained_model(story: Story, name: str) -> str:
        folder = story.root / f"models/{name}/model"
        shutil.rmtree(folder)
        shutil.copytree(trained, folder)
        return tree_digest(folder)

    monkeypatch.setattr(Story, "_model", trained_model)
    story.train("sft", "sft", "conversation", "desk_sft", "base")
    story.register("sft", "8", run_id=RUN)
    scene.released("8")
    monkeypatch.chdir(story.root)
    for name, value in story.machine.environ.items():
        monkeypatch.setenv(name, value)
    (shown,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/serving.md").read_text(encoding="utf-8"), re.DOTALL
    )
    exec(compile(shown, "docs/serving.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == f"support-desk/8 {tree_digest(trained)}"


@pytest.mark.parametrize("name", ["support-desk@champion", "support-desk/7"])
def test_a_champion_by_a_forged_move_is_not_loaded(name: str, scene: Governed) -> None:
    """Recorded with the service's key, past the server. Nobody approved these bytes."""
    story = scene.story
    moved = Promotion(
        model=MODEL,
        version="7",
        alias="champion",
        model_digest=tree_digest(files(scene)),
        allowed=True,
        findings=[],
        policy=story.policies.digest,
        at="2026-11-20T12:00:00.000000Z",
        run=story.run(),
    )
    what = Artifact(role="model", name="model", sha256=moved.model_digest)
    assert loaded(scene).version == "support-desk/7"
    evidence.record(story.log, signer(story.machine), "promotion", [what], moved)
    with pytest.raises(VerificationError, match="FORGED MOVE: support-desk/7 holds champion"):
        load(name, machine=story.machine)


@pytest.mark.slow
def test_without_the_files_it_says_where_they_were_looked_for(scene: Governed) -> None:
    shutil.rmtree(files(scene))
    with pytest.raises(InputError, match="not on this machine"):
        loaded(scene)


SPOILED = {
    "code": lambda folder: (folder / "modeling_x.py").write_text("import os"),
    "an adapter": (
        lambda folder: (folder / "adapter_config.json").write_text(
            '{"base_model_name_or_path": "x/y"}'
        )
    ),
    "a link": lambda folder: (
        (folder / "config.json").rename(folder.parent / "c.json")
        and (folder / "config.json").symlink_to(folder.parent / "c.json")
    ),
    "a changed configuration": (
        lambda folder: (folder / "config.json").write_text(
            json.dumps(
                {
                    **json.loads((folder / "config.json").read_text()),
                    "auto_map": {"AutoModelForCausalLM": "x.Y"},
                }
            )
        )
    ),
    "pickled weights": lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x04."),
}


@pytest.mark.parametrize("name", SPOILED)
def test_anything_else_is_refused(name: str, scene: Governed) -> None:
    SPOILED[name](files(scene))
    with pytest.raises(VerificationError, match="not the registered model's files"):
        loaded(scene)


@pytest.mark.parametrize(
    "options",
    [
        {"trust_remote_code": True},
        {"state_dict": {}},
        {"revision": "x"},
        {"attn_implementation": "a/kernel"},
    ],
)
def test_options_that_let_something_else_in_are_refused(
    options: dict[str, Any], scene: Governed
) -> None:
    with pytest.raises(ConfigError, match="takes no"):
        loaded(scene, **options)


def test_a_file_swapped_between_verification_and_loading_does_not_get_in(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the last moment before transformers opens anything, every file of the registry is
    replaced.
    """
    import pipelines.loader as loader

    before, swapped = loader.load_model, []

    def late(copy: Path, kind: str, **options: Any) -> Any:
        for path in files(scene).iterdir():
            path.write_bytes(b"swapped")
            swapped.append(path.name)
        assert copy != files(scene)
        return before(copy, kind, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loader, "load_model", late)
    found = loaded(scene)
    assert "model.safetensors" in swapped and "config.json" in swapped
    assert {float(one) for p in found.model.parameters() for one in p.detach().flatten()[:3]} == {
        WEIGHTS
    }


@pytest.mark.slow
def test_a_racing_writer_never_gets_a_weight_in(scene: Governed) -> None:
    """Good and evil weights change places all the time: each load is wholly the good ones, or
    refused.
    """
    path, over = files(scene) / "model.safetensors", threading.Event()
    good = path.read_bytes()
    evil = good[:-4] + b"\0\0\0\0"
    outcomes: set[str] = set()

    def write() -> None:
        target = path.parent.parent / "other"
        while not over.is_set():
            for content in (evil, good):
                target.write_bytes(content)
                target.replace(path)
                with path.open("r+b") as stream:  # and in place, as a reader has it open
                    stream.seek(-4, os.SEEK_END)
                    stream.write(content[-4:])

    writer, until = threading.Thread(target=write), time.monotonic() + 300
    writer.start()
    try:
        for tried in count():
            if tried >= 10 and (len(outcomes) == 2 or time.monotonic() > until):
                break
            try:
                found = loaded(scene)
            except VerificationError:
                outcomes.add("refused")
                continue
            outcomes.add("loaded")
            assert all(bool((p == WEIGHTS).all()) for p in found.model.parameters())
    finally:
        over.set()
        writer.join()
    path.write_bytes(good)
    loaded(scene)
    assert outcomes == {"refused", "loaded"}


@pytest.mark.slow
def test_a_model_that_policy_closes_is_not_loaded(tmp_path: Path, trained: Path) -> None:
    """The key at hand needs the right, and the log has the read before any file is copied."""
    rows = "readers: {datasets: {}, models: {support-desk: [release-manager]}}\n"
    scene = registered(governed(tmp_path, RULES + rows), trained)
    log = scene.story.log
    before = log.size()
    with pytest.raises(RefusedError, match="READ_NOT_ALLOWED model support-desk"):
        loaded(scene)  # by the service's key
    assert log.size() == before
    cleo = key_file(tmp_path, "cleo")
    environ = {**scene.story.machine.environ, "COUNTERSIGN_KEY": cleo}
    here = replace(scene.story.machine, environ=environ)
    for _ in range(2):
        assert load(f"{MODEL}/7", machine=here, root=scene.story.root, purpose="serving").model
    (said,) = state(log).evidence.all(Read)
    assert (said.predicate.reader, said.predicate.command) == ("cleo", "load")
    assert said.subjects[0].sha256 == tree_digest(files(scene))
