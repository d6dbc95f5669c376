"""Commands that start warm: forks of a process that has already imported the heavy libraries.

A test of the whole command line spends most of its time on imports: torch, TRL, MLflow and Great
Expectations, in every stage. Here one process per pytest worker imports them once. A command is
still a process of its own, with its own arguments, environment, working folder and exit code; it is
forked instead of started. Its name, as `ps` shows it, is its first argument (`repro`, `stage`,
`server`). A signal that ends the process at its place ends the fork.

It is not below the process that started it: a test of who ends with whom starts cold.

Used by `tests.project.Project.run`. `TESTS_COLD=1` turns it off.
"""

from __future__ import annotations

import array
import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests import at_first_use
from tests.kept import KEPT

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SOCKET = "COUNTERSIGN_WARM_SOCKET"
PRELOADED = [
    "pipelines.cli", "pipelines.commands.repro", "pipelines.commands.stage",
    "pipelines.stages.sample", "pipelines.stages.fetch",
    "pipelines.sources.ingest", "pipelines.pii.scan", "pipelines.quality",
    "pipelines.stages.import_base",
    "pipelines.stages.evaluate_base", "pipelines.stages.evaluate",
    "pipelines.stages.evaluate_further", "pipelines.stages.evaluate_task",
    "pipelines.stages.evaluate_judged", "pipelines.stages.gate", "pipelines.stages.probe_leaks",
    "pipelines.stages.train", "pipelines.stages.register", "pipelines.stages.report",
    "pipelines.training.fit", "governance.commands.verify", "governance.commands.status",
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "mlflow", "mlflow.tracking",
    "great_expectations", "presidio_analyzer", "hyperscan", "phonenumbers", "pandas",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store",
    "flask", "graphene", "fastapi", "alembic.command", "psycopg", "sqlalchemy.dialects.sqlite",
    "pyarrow.parquet", "pyarrow.compute", "spacy", "dvc.cli.parser", "dvc.repo.reproduce",
    "dvc.dvcfile", "dvc.analytics", "dvc.utils.strictyaml", "dvc_data.hashfile.db.local", "shtab",
    "configobj", "dulwich.repo", "networkx", "scmrepo.git", "tabulate", "wcwidth", "zc.lockfile",
    "governance.registry.mlflow", "governance.registry.schema", "governance.registry.process",
    "governance.server.plugin", "governance.server.clock", "alembic.config",
    "mlflow.store.model_registry.sqlalchemy_workspace_store", "pipelines.scoring",
    "mlflow.store.tracking.sqlalchemy_workspace_store", "pipelines.training.tokenizer",
    "torch.utils.serialization", "peft.utils.transformers_weight_conversion", "spacy.lang.en",
    "transformers.models.qwen2.tokenization_qwen2", "spacy_legacy", "spacy_loggers",
    "uvicorn", "aiohttp", "flask_cors", "flask_wtf.csrf", "starlette.testclient",
    "mlflow.genai.review_queues", "mlflow.gateway.providers.openai", "mlflow.webhooks.delivery",
    "mlflow.gateway.budget_tracker", "mlflow.gateway.guardrails", "mlflow.metrics.genai",
    "mlflow.assistant.providers", "mlflow.assistant.skill_installer", "mlflow.tracing.processor",
    "mlflow.store.jobs.abstract_store", "mlflow.genai.review_queues.validation",
    "mlflow.store.tracking.gateway.config_resolver", "fastapi.middleware.cors",
    "opentelemetry.sdk.metrics", "starlette.middleware.wsgi",
]  # fmt: skip
"""What the warm process imports; a name that is gone costs time only."""
PRELOADED_NAMES = [
    ("transformers", "AutoModelForCausalLM Qwen2ForCausalLM Qwen3ForCausalLM AutoTokenizer"),
    ("transformers", "AutoModelForSequenceClassification Trainer PreTrainedTokenizerFast"),
    ("trl", "SFTConfig SFTTrainer"),
]
"""Names that those libraries import at first use only."""
MODULE, CODE = "pipelines.commands.dvc_process", "from pipelines.cli import main; main()"
"""What is started with `python -m` and `python -c`."""
ISOLATED = "pipelines.cli"
"""What `pipelines/boot.py` starts."""
SHIM = """#!{python} -IS
import array, json, os, signal, socket, sys
path = os.environ.get("{variable}")
server = socket.socket(socket.AF_UNIX)
try:
    if "{program}" == "{python}" and not {{"{module}", "{code}", "{isolated}"}} & set(sys.argv[1:6]):
        raise OSError
    server.connect(path)
except (OSError, TypeError):
    os.execv("{program}", ["{program}", *sys.argv[1:]])
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
message = json.dumps({{"program": "{program}", "arguments": sys.argv[1:], "cwd": os.getcwd(),
                      "environ": dict(os.environ)}}).encode()
fds = array.array("i", [0, 1, 2])
server.sendmsg([len(message).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
server.sendall(message)
answer = server.recv(4)
code = int.from_bytes(answer, "big", signed=True) if answer else 1
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != 9 else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def environment() -> dict[str, str]:
    """What a command needs to start warm: a folder for PATH, and the address. Empty where it cannot
    be done. A test's own process shares the warm process of the test.
    """
    if address := os.environ.get(SOCKET):
        return {"PATH": str(Path(address).parent), SOCKET: address}
    if os.environ.get("TESTS_COLD") or not hasattr(os, "fork") or sys.platform != "linux":
        return {}
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    for name in ("countersign", "dvc", "python"):
        path = folder / name
        program = sys.executable if name == "python" else BIN / name
        path.write_text(
            SHIM.format(
                python=sys.executable,
                variable=SOCKET,
                program=program,
                module=MODULE,
                code=CODE,
                isolated=ISOLATED,
            ),
            encoding="utf-8",
        )
        path.chmod(0o755)
    address = folder / "socket"
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN")},
        "HOME": str(folder),
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",  # a fork has these flags; a stage asks for them
        "PYTHONNOUSERSITE": "1",
    }
    global PROCESS
    process = PROCESS = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.warm", str(address), str(os.getpid())],
        cwd=ROOT,
        env={
            **environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        },
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    atexit.register(_end, process, folder)
    until = time.monotonic() + 300
    while not address.exists():
        if process.poll() is not None or time.monotonic() > until:
            return {}
        time.sleep(0.05)
    return {"PATH": str(folder), SOCKET: str(address)}


def warmed(program: str, environ: dict[str, str]) -> tuple[str, dict[str, str]]:
    """`countersign`, `dvc` or `python` and its environment, so that it starts warm where it can."""
    known = program in ("countersign", "dvc", "python")
    warm = environment() if known else {}
    if not warm:
        return (sys.executable if program == "python" else program), environ
    path = os.pathsep.join([warm["PATH"], environ["PATH"]])
    # a stage would start itself again, cold, for another seed than that of the warm process
    more = {"PATH": path, "PYTHONHASHSEED": "0"}
    return str(Path(warm["PATH"]) / program), {**environ, **warm, **more}


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    import shutil

    process.terminate()
    process.wait(30)
    shutil.rmtree(folder, ignore_errors=True)


# --- the warm process -----------------------------------------------------------------------------


def serve(address: str, owner: int) -> None:
    """Imports everything, then forks for each command, until the test run is gone."""
    from pipelines.process import SETTINGS

    at_first_use.install()
    os.environ.update(SETTINGS, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    for name in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    for name, wanted in PRELOADED_NAMES:
        for attribute in wanted.split():
            with suppress(ImportError, AttributeError):
                getattr(sys.modules[name], attribute)
    _build_models()
    _look_at_what_is_installed()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen(64)
    Path(f"{address}.new").rename(address)
    gc.collect()
    gc.freeze()  # or each fork's first collection would copy every page
    running: dict[int, socket.socket] = {}
    while _alive(owner):
        ready, _, _ = select.select([listener, *running.values()], [], [], 0.01 if running else 5)
        if listener in ready:
            client, _ = listener.accept()
            running[_started(client, listener)] = client
        for pid, client in list(running.items()):
            if client in ready:
                _passed_on(client, pid)
            _ended(pid, client, running)


def _build_models() -> None:
    """Builds what libraries build at first use: typed models, templates of reports, and how weights
    are converted.
    """
    from governance.base.model import Model
    from governance.report import html

    classes = [Model]
    for model in classes:
        classes += model.__subclasses__()
        model.model_rebuild()
    html.prepare()
    with suppress(ImportError, AttributeError):
        from transformers import conversion_mapping

        conversion_mapping.get_checkpoint_conversion_mapping("qwen3")


def _look_at_what_is_installed() -> None:
    """Looks at each installed file once. A fork looks at the folders and at what it has opened, as
    most of the stages do that `pipelines.workers` starts. Here, all stages do.
    """
    from pipelines import installed

    path = list(sys.path)
    sys.path[:] = _path_of_a_stage()
    installed.take_snapshot(KEPT)
    sys.path[:] = path
    installed.OPENS_ITSELF = frozenset()


def _path_of_a_stage() -> list[str]:
    """As of a process that was started without PYTHONPATH: the path is part of what is recorded."""
    beside = {str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    return [entry for entry in sys.path if entry and entry not in beside]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _started(client: socket.socket, listener: socket.socket) -> int:
    """The process of the command that this client asks for."""
    data, ancillary, _, _ = client.recvmsg(4, socket.CMSG_SPACE(3 * 4))
    descriptors = array.array("i")
    for _, _, rights in ancillary:
        descriptors.frombytes(rights[: 3 * descriptors.itemsize])
    wanted = int.from_bytes(data, "big")
    text = b""
    while len(text) < wanted:
        text += client.recv(wanted - len(text))
    child = os.fork()
    if child == 0:
        listener.close()
        client.close()
        _run(json.loads(text), list(descriptors))
    for descriptor in descriptors:
        os.close(descriptor)
    return child


def _passed_on(client: socket.socket, pid: int) -> None:
    """A signal from the client; without a client nobody waits for the command any more."""
    with suppress(OSError):
        number = client.recv(1)
        os.kill(pid, number[0] if number else signal.SIGKILL)


def _ended(pid: int, client: socket.socket, running: dict[int, socket.socket]) -> None:
    """Tells the client how its command ended, if it has."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        del running[pid]
        with suppress(OSError):
            client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
        client.close()


def _run(command: dict[str, Any], descriptors: list[int]) -> None:
    """Becomes the command. Does not return."""
    code = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.chdir(command["cwd"])
        os.environ.clear()
        os.environ.update(command["environ"])
        arguments = command["arguments"]
        own = arguments[arguments.index(ISOLATED) + 1 :] if ISOLATED in arguments else arguments
        name = next((one for one in own if not one.startswith("-")), "")
        Path("/proc/self/comm").write_text(name[:15], encoding="utf-8")
        sys.argv = [command["program"], *arguments]
        sys.orig_argv = [sys.executable, *sys.argv]
        sys.executable = str(Path(os.environ["PATH"].split(os.pathsep)[0]) / "python")
        main = sys.modules["__main__"]  # what click and multiprocessing ask for the program's name
        main.__package__, main.__spec__, main.__file__ = None, None, command["program"]
        tempfile.tempdir = None
        _seed()
        code = _main(Path(command["program"]).name)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading_shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(BaseException):
                stream.flush()
        os._exit(code)


def threading_shutdown() -> None:
    """What Python does at the end of a process."""
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def _seed() -> None:
    """Forks would draw the same numbers."""
    import random

    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _main(program: str) -> int:
    if MODULE in sys.argv:
        from pipelines.commands import dvc_process

        os.environ[dvc_process.RUN] = str(os.getppid())  # the warm process is above it
        return dvc_process.main(sys.argv[sys.argv.index(MODULE) + 1 :])
    if ISOLATED in sys.argv:
        from pipelines import boot

        boot.install()
        sys.path[:] = _path_of_a_stage()
        sys.argv = ["countersign", *sys.argv[sys.argv.index(ISOLATED) + 1 :]]
    if CODE in sys.argv:
        sys.argv = ["countersign", *sys.argv[sys.argv.index(CODE) + 1 :]]
    if program == "dvc":
        from dvc.cli import main as start
    else:
        from pipelines.cli import main as start
    try:
        code = start()
    except SystemExit as ended:
        code = ended.code
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
