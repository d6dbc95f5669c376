"""A stage's process gets nothing but its inputs, the code and the environment of the interpreter.

A probe stage writes what it sees of its own process. Each test first shows, in a process that is
not isolated, that its attack works.
"""

from __future__ import annotations

import json
import os
import py_compile
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError
from pipelines import boot, isolation
from tests.conftest import ROOT, rows
from tests.project import Done, Project, fresh

PROBE = '''
"""Writes what a stage sees of its own process."""

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path

from pipelines import boot
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output

SEEN = """
import builtins, json, os, sys
print(json.dumps({
    "environ": dict(os.environ), "path": sys.path, "hash": hash("countersign"),
    "flags": [sys.flags.safe_path, sys.flags.no_user_site, sys.flags.hash_randomization],
    "evil": getattr(builtins, "evil", None), "cache": sys.pycache_prefix,
}))
"""


def inputs(params, key):
    return []


def outputs(params, key):
    return [Output("seen", Path("data/seen") / f"{key}.json")]


def run(job: Job) -> Outcome:
    child = subprocess.run([sys.executable, "-c", SEEN], capture_output=True, check=True)
    seen = {
        "environ": dict(os.environ), "path": sys.path, "hash": hash("countersign"),
        "flags": [sys.flags.safe_path, sys.flags.no_user_site, sys.flags.hash_randomization],
        "evil": getattr(builtins, "evil", None), "cache": sys.pycache_prefix,
        "code": "as written", "child": json.loads(child.stdout), "loaded": boot.LOADED,
    }
    job.output("seen").write_text(json.dumps(seen), encoding="utf-8")
    return Outcome(summary="seen")


FAMILY = StageFamily(run=run, inputs=inputs, outputs=outputs, table="datasets")
'''
MODULE = "pipelines/stages/probe.py"
KEY = "desk_eval"
EVIL = "import builtins\nbuiltins.evil = __name__\n"
START = "from pipelines.cli import main; main()"
LOCK = "from pathlib import Path; from pipelines import lock; lock.write(Path.cwd())"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The small project with the probe; its own `pipelines` are the ones that run."""
    made = fresh(tmp_path)
    made.environ["PYTHONPATH"] = os.pathsep.join([str(made.root), str(ROOT)])
    (made.root / MODULE).write_text(PROBE, encoding="utf-8")
    return made


def write_lock(project: Project) -> None:
    """The project's lock has the probe as its source is now."""
    project.run(sys.executable, "-P", "-B", "-c", LOCK)


def run(project: Project, **environ: str) -> Done:
    """The probe, in a process that starts cold."""
    write_lock(project)
    arguments = ("-P", "-c", START, "stage", "probe", KEY)
    return project.run(sys.executable, *arguments, **environ)


def seen(project: Project, **environ: str) -> dict[str, Any]:
    """What the probe saw."""
    done = run(project, **environ)
    assert done.code == 0, done.out
    read: dict[str, Any] = json.loads((project.root / f"data/seen/{KEY}.json").read_text())
    return read


def outside(project: Project, code: str, **environ: str) -> str:
    """What a Python that is not isolated prints."""
    done = project.run(sys.executable, "-c", code, **environ)
    assert done.code == 0, done.out
    return done.out.strip()


def hostile(project: Project, tmp_path: Path) -> dict[str, str]:
    """Variables by which a process could run other code."""
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("sitecustomize", "usercustomize", "startup", "category"):
        (evil / f"{name}.py").write_text(f"{EVIL}class Category(Warning): pass\n", encoding="utf-8")
    user = evil / "user" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    user.mkdir(parents=True)
    (user / "evil.pth").write_text("import builtins; builtins.evil = 'pth'\n", encoding="utf-8")
    (user / "usercustomize.py").write_text(EVIL, encoding="utf-8")
    return {
        "PYTHONPATH": os.pathsep.join([str(evil), project.environ["PYTHONPATH"]]),
        "PYTHONUSERBASE": str(evil / "user"),
        "PYTHONSTARTUP": str(evil / "startup.py"),
        "PYTHONWARNINGS": "ignore::category.Category",
        "PYTHONBREAKPOINT": "startup.Category",
        "PYTHONINSPECT": "",
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "123",
        "PYTHONPYCACHEPREFIX": str(evil / "cache"),
        "LD_LIBRARY_PATH": str(evil),
        "GIT_DIR": str(evil / "git"),
        "GIT_CONFIG_GLOBAL": str(evil / "gitconfig"),
        "MLFLOW_TRACKING_URI": "http://localhost:1",
        "HF_HUB_DISABLE_SAFETENSORS": "1",
        "TRANSFORMERS_CACHE": str(evil),
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "1",
        "OMP_NUM_THREADS": "7",
        "BASH_ENV": str(evil / "startup.py"),
        "ANYTHING": "else",
    }


@pytest.mark.slow
def test_nothing_hostile_in_the_environment_reaches_a_stage(
    project: Project, tmp_path: Path
) -> None:
    environ = hostile(project, tmp_path)
    assert outside(project, "print(evil)", **environ) in ("sitecustomize", "usercustomize", "pth")
    found = seen(project, **environ)
    for process in (found, found["child"]):
        assert process["evil"] is None
        assert process["flags"][:2] == [True, 1]
        assert not [path for path in process["path"] if str(tmp_path) in path]
        assert process["cache"] == os.devnull
        kept = {name: process["environ"].get(name) for name in environ}
        assert {name: value for name, value in kept.items() if value is not None} == {
            "PYTHONHASHSEED": "0",
            "PYTHONPYCACHEPREFIX": os.devnull,
            "OMP_NUM_THREADS": "1",
        }


@pytest.mark.slow
def test_a_library_that_is_preloaded_is_not_in_a_stage(project: Project, tmp_path: Path) -> None:
    source, library = tmp_path / "evil.c", tmp_path / "evil.so"
    source.write_text("int evil_is_here(void) { return 1; }\n", encoding="utf-8")
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler")
    code = "print('evil.so' in open('/proc/self/maps').read())"
    assert outside(project, code, LD_PRELOAD=str(library)) == "True"
    module = project.root / MODULE
    text = module.read_text(encoding="utf-8")
    maps = '"evil": "evil.so" in open("/proc/self/maps").read(),'
    probe = text.replace('        "evil": getattr(builtins, "evil", None),', f"        {maps}")
    assert maps in probe
    module.write_text(probe, encoding="utf-8")
    found = seen(project, LD_PRELOAD=str(library))
    assert (found["evil"], "LD_PRELOAD" in found["environ"]) == (False, False)


@pytest.mark.slow
def test_equal_hashes_in_every_run(project: Project) -> None:
    """`-I` would ignore PYTHONHASHSEED."""
    code = "print(hash('countersign'))"
    expected = int(outside(project, code, PYTHONHASHSEED="0"))
    assert int(outside(project, code, PYTHONHASHSEED="7")) != expected
    found = seen(project, PYTHONHASHSEED="7")
    assert (found["hash"], found["child"]["hash"]) == (expected, expected)


@pytest.mark.slow
def test_what_a_machine_needs_reaches_a_stage(project: Project) -> None:
    needed = {
        "COUNTERSIGN_REQUESTER": "ada",
        "CUDA_VISIBLE_DEVICES": "0",
        "HTTPS_PROXY": "http://proxy:1",
        "no_proxy": "localhost",
        "LC_ALL": "C.UTF-8",
        "HF_HOME": "/hf",
        "NCCL_DEBUG": "INFO",
        "LD_LIBRARY_PATH": "/drivers",
        "SECRET_PEM": "a key",
    }
    chosen = {
        "COUNTERSIGN_ENVIRONMENT": "NCCL_DEBUG, LD_LIBRARY_PATH,NOT_SET",
        "COUNTERSIGN_CHECKPOINT": "env:SECRET_PEM",
    }
    found = seen(project, **needed, **chosen)["environ"]
    assert {name: found.get(name) for name in needed} == needed
    assert "NOT_SET" not in found


LOADING = [
    *("LD_PRELOAD", "PYTHONPATH", "GIT_DIR", "LD_AUDIT", "BASH_ENV", "OPENSSL_CONF"),
    *("OMP_TOOL_LIBRARIES", "CUDA_INJECTION64_PATH", "NCCL_NET_PLUGIN"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(LOADING, in_ci={"PYTHONPATH"}))
def test_a_stage_does_not_start_with_a_variable_that_loads_other_code(
    name: str, project: Project
) -> None:
    done = run(project, COUNTERSIGN_ENVIRONMENT=name)
    assert done.code == 2 and f"{name}: by such a variable" in done.out, done.out


@pytest.mark.parametrize("name", LOADING)
def test_a_variable_that_loads_other_code_is_never_passed_on(name: str) -> None:
    with pytest.raises(ConfigError, match="by such a variable"):
        isolation.environment({"COUNTERSIGN_ENVIRONMENT": name, name: "x"})
    environ = {"COUNTERSIGN_SIGNER": f"env:{name}", name: "x"}
    assert isolation.environment(environ).get(name) in (None, isolation.PYTHON.get(name))


def poison(source: Path, evil: str) -> None:
    """The compiled file beside a source has other code, and the time and size of the source."""
    copy = source.with_suffix(".evil")
    copy.write_text(evil, encoding="utf-8")
    status, cached = source.stat(), Path(f"{source.parent}/__pycache__")
    compiled = cached / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(copy), str(compiled), str(source), doraise=True)
    copy.unlink()
    header = struct.pack("<II", int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    content = compiled.read_bytes()
    compiled.write_bytes(content[:8] + header + content[16:])


@pytest.mark.slow
def test_a_compiled_file_with_other_code_is_not_read(project: Project) -> None:
    module = project.root / MODULE
    poison(module, PROBE.replace("as written", "poisoned"))
    code = "import inspect, pipelines.stages.probe as p; print(p.run.__code__.co_consts)"
    assert "poisoned" in outside(project, code)
    assert seen(project)["code"] == "as written"


@pytest.mark.slow
def test_a_source_that_changed_within_its_time_and_size_is_compiled_anew(
    project: Project,
) -> None:
    module = project.root / MODULE
    assert seen(project)["code"] == "as written"
    status = module.stat()
    module.write_text(PROBE.replace("as written", "AS WRITTEN"), encoding="utf-8")
    os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert seen(project)["code"] == "AS WRITTEN"


@pytest.mark.slow
def test_a_package_with_a_compiled_file_only_is_not_imported(project: Project) -> None:
    """Python imports `x.pyc` where there is no `x.py`: no source to compare with the commit."""
    module = project.root / MODULE
    py_compile.compile(str(module), str(module.with_suffix(".pyc")), doraise=True)
    module.unlink()
    assert outside(project, "import pipelines.stages.probe; print('yes')") == "yes"
    done = run(project)
    assert done.code != 0 and "ModuleNotFoundError" in done.out, done.out


@pytest.mark.nightly
@pytest.mark.slow
def test_compiled_code_of_another_folder_is_not_used(project: Project, tmp_path: Path) -> None:
    """Of a folder that others can write, and of one that a variable names: a repository can bring
    such a folder, and a line of `dvc.yaml` the variable.
    """
    home = project.home / "bytecode"
    kept = tmp_path / "bytecode"
    kept.mkdir(mode=0o700)
    home.unlink()
    home.symlink_to(kept)
    assert seen(project)["code"] == "as written"
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    changed = 0
    for path in kept.iterdir():
        content = path.read_bytes()
        if b"as written" in content:
            path.write_bytes(content.replace(b"as written", b"other code"))
            changed += 1
    assert changed
    assert seen(project)["code"] == "other code", "whoever has this account can write it"
    kept.chmod(0o777)
    assert seen(project)["code"] == "as written"
    assert before.keys() == {path.name for path in kept.iterdir()}
    kept.chmod(0o700)
    home.unlink()
    assert seen(project, COUNTERSIGN_BYTECODE=str(kept))["code"] == "as written"


@pytest.mark.slow
def test_what_was_compiled_is_kept_by_digest(project: Project) -> None:
    from governance.attest.digests import sha256_file

    loaded = seen(project)["loaded"]
    own = {path: digest for path, digest in loaded.items() if path.startswith(str(project.root))}
    assert str(project.root / MODULE) in own
    assert str(ROOT / "governance/base/errors.py") in loaded
    assert {path: sha256_file(Path(path)) for path in own} == own


def test_a_stage_refuses_to_run_in_another_process(project: Project) -> None:
    """Somebody calls the command's function, past `main`, which would start an isolated process."""
    start = "from pipelines.cli import cli; cli(['stage', 'probe', 'desk_eval'])"
    done = project.run(sys.executable, "-c", start)
    assert done.code != 0 and "this process is not isolated" in done.out, done.out
    assert "Python was started without -P -s" in done.out
    assert not (project.root / "data/seen").exists()
    with pytest.raises(ConfigError, match="modules were not compiled from their sources"):
        isolation.require_isolated(os.environ)


@pytest.mark.slow
def test_the_command_line_as_a_module_runs_a_stage_too(project: Project) -> None:
    """`python -m pipelines.cli` did nothing, and ended with 0."""
    write_lock(project)
    done = project.run(sys.executable, "-m", "pipelines.cli", "stage", "probe", KEY)
    assert done.code == 0, done.out
    assert (project.root / f"data/seen/{KEY}.json").exists()


def test_a_launcher_that_adds_a_path_of_python_is_refused_and_told(project: Project) -> None:
    """As `accelerate launch` does for DeepSpeed."""
    environ = {**isolation.environment(project.env()), "PYTHONPATH": str(project.root)}
    done = subprocess.run(
        isolation.command("pipelines.cli", "stage", "probe", KEY),
        cwd=project.root, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "this process is not isolated: variables PYTHONPATH" in done.stderr
    assert "let the launcher set none of these" in done.stderr
    assert not (project.root / "data/seen").exists()


def test_a_launcher_gets_the_environment_of_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance.base.errors import TrainingError
    from pipelines.training import launch
    from pipelines.training.objective import Objective
    from pipelines.training.plan import Plan

    program = tmp_path / "launcher.py"
    program.write_text(
        "import json, os, sys, pathlib\n"
        "here = pathlib.Path(__file__).parent\n"
        "seen = [dict(os.environ), sys.argv, sys.flags.safe_path, sys.flags.no_user_site]\n"
        "(here / 'seen.json').write_text(json.dumps(seen))\n"
        "sys.exit(1)\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    objective = Objective.model_construct(method="sft")
    plan = Plan.model_construct(
        stage="sft", objective=objective, parent=tmp_path, scorer=None, records=tmp_path,
        work=tmp_path, checkpoint_seconds=1.0,
    )  # fmt: skip
    with pytest.raises(TrainingError, match="the launcher ended with 1"):
        command = {"COUNTERSIGN_LAUNCH": f"{sys.executable} {program}"}
        launch.run(plan, lambda step, steps, signals: None, command)
    environ, arguments, safe_path, no_user_site = json.loads((tmp_path / "seen.json").read_text())
    assert arguments[1:] == [str(isolation.script()), launch.FIT, str(tmp_path / "plan.json")]
    assert (safe_path, no_user_site) == (True, 1)
    assert not {"PYTHONPATH", "LD_PRELOAD", "ACCELERATE_MIXED_PRECISION"} & environ.keys()
    assert {name: environ[name] for name in isolation.PYTHON} == isolation.PYTHON
    assert environ[boot.PACKAGES].split(os.pathsep) == [
        str(ROOT / "governance"),
        str(ROOT / "pipelines"),
    ]


@pytest.mark.slow
def test_a_stage_that_dvc_starts_is_isolated(project: Project, tmp_path: Path) -> None:
    def add(graph: dict[str, Any]) -> None:
        graph["stages"]["probe"] = {
            "foreach": "${datasets}",
            "do": {"cmd": "countersign stage probe ${key}", "outs": ["data/seen/${key}.json"]},
        }

    project.edit("dvc.yaml", add)
    write_lock(project)
    environ = hostile(project, tmp_path)
    for name in ("GIT_DIR", "GIT_CONFIG_GLOBAL"):  # DVC itself needs the repository
        environ.pop(name)
    done = project.run(sys.executable, "-P", "-c", START, "repro", f"probe@{KEY}", **environ)
    assert done.code == 0, done.out
    found = json.loads((project.root / f"data/seen/{KEY}.json").read_text())
    assert (found["evil"], found["flags"][:2]) == (None, [True, 1])
    assert not {"PYTHONPATH", "ANYTHING", "LD_LIBRARY_PATH"} & found["environ"].keys()
