"""Fetching from the Hugging Face Hub: a local server speaks its protocol; every failure is a clear
sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from governance.base.errors import ConfigError
from pipelines.params import HubDataset, load_params
from pipelines.sources.readers import read_rows
from pipelines.stages import fetch as hub
from tests.conftest import ROOT

REVISION = "ab" * 20
ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4"}]
FILES = {
    "me/data": {"train.jsonl": "".join(f"{json.dumps(row)}\n" for row in ROWS).encode()},
    "me/code": {"code.py": b"raise SystemExit('code ran')"},
    "me/nothing": {"picture.xyz": b"x"},
}
SCRIPT = """
import json, sys
from pathlib import Path
from governance.base.errors import CountersignError
from pipelines.stages.fetch import fetch
from pipelines.params import HubDataset
for name, revision, target in json.loads(sys.argv[1]):
    path, _, split = name.partition(":")
    wanted = HubDataset(path=path, split=split or "train", revision=revision)
    try:
        print(json.dumps([0, str(fetch(wanted, Path(target)))]))
    except CountersignError as error:
        print(json.dumps([error.exit_code, str(error)]))
"""


class Hub(BaseHTTPRequestHandler):
    """The few requests that a download of data files makes."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        name = next((name for name in FILES if f"/{name}/" in f"{path}/"), "")
        if "/me/gated/" in path:
            return self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        if not name or REVISION not in path:
            return self._send(
                404, b"{}", {"X-Error-Code": "RevisionNotFound" if name else "RepoNotFound"}
            )
        files = FILES[name]
        if "/resolve/" in path:
            content = files.get(path.rsplit("/", 1)[1])
            if content is None:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return self._send(
                200,
                content,
                {"X-Repo-Commit": REVISION, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'},
            )
        if "/tree/" in path:
            listed = (
                []
                if path.endswith("/data") and not path.endswith(REVISION)
                else [
                    {"type": "file", "path": file, "size": len(content), "oid": "cd" * 20}
                    for file, content in files.items()
                ]
            )
            return self._send(200, json.dumps(listed).encode(), {})
        info = {
            "id": name,
            "sha": REVISION,
            "siblings": [{"rfilename": file} for file in files],
            "private": False,
            "tags": [],
        }
        return self._send(200, json.dumps(info).encode(), {})

    do_HEAD = do_GET
    do_POST = do_GET

    def _send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {
            "Content-Length": str(len(content)),
            "Content-Type": "application/json",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


Fetched = tuple[int, str]
"""0 and the number of records, or the exit code and message of an error."""


def fetch(folder: Path, *wanted: tuple[str, str, str], **environ: str) -> list[Fetched]:
    """Fetches each (dataset, revision, file in `folder`) in a process of its own, since the
    libraries read the environment once.
    """
    targets = [(path, revision, str(folder / name)) for path, revision, name in wanted]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(targets)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hf"), **environ},
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "code ran" not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == len(wanted), done.stdout
    return [(code, text) for code, text in lines]


DATA = ("me/data", REVISION, "out.parquet")


@pytest.mark.slow
def test_a_split_at_a_revision_becomes_one_parquet_file_with_the_same_bytes_every_time(
    tmp_path: Path, endpoint: str
) -> None:
    assert fetch(tmp_path, DATA, HF_ENDPOINT=endpoint) == [(0, "2")]
    assert [row.value for row in read_rows(tmp_path / "out.parquet")] == ROWS
    bytes_before = (tmp_path / "out.parquet").read_bytes()
    again = fetch(tmp_path, DATA, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1")
    assert again == [(0, "2")], "the cache is enough without a network"
    assert (tmp_path / "out.parquet").read_bytes() == bytes_before and pq.read_table(
        tmp_path / "out.parquet"
    ).num_rows == 2


@pytest.mark.slow
def test_without_a_network_nothing_is_fetched(tmp_path: Path, endpoint: str) -> None:
    ((code, text),) = fetch(tmp_path, DATA, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1")
    assert code == 8 and "cannot be reached" in text
    assert not (tmp_path / "out.parquet").exists()


FAILURES = {
    # dataset, revision, exit code, what the message says
    "no such dataset": ("me/absent", REVISION, 3, "no such repository"),
    "no such revision": ("me/data", "cd" * 20, 3, "no such repository, revision"),
    "no such split": ("me/data:validation", REVISION, 2, "validation|split"),
    "gated": ("me/gated", REVISION, 3, "HF_TOKEN"),
    "a loading script": ("me/code", REVISION, 3, "no such repository, revision or file"),
    "no data files": ("me/nothing", REVISION, 3, "no such repository, revision or file"),
}


@pytest.fixture(scope="module")
def failed(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fetched]:
    """How each of them ends; one process tries all."""
    folder = tmp_path_factory.mktemp("failed")
    wanted = [(path, revision, name) for name, (path, revision, _, _) in FAILURES.items()]
    found = dict(zip(FAILURES, fetch(folder, *wanted, HF_ENDPOINT=endpoint), strict=True))
    assert [path.name for path in folder.iterdir() if path.name != "hf"] == [], "nothing is left"
    return found


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_a_clear_sentence_and_leaves_nothing(
    failed: dict[str, Fetched], name: str
) -> None:
    _, _, code, match = FAILURES[name]
    assert failed[name][0] == code, failed[name]
    assert re.search(match, failed[name][1])


@pytest.mark.slow
def test_a_host_that_is_not_there_is_said_to_be_out_of_reach(tmp_path: Path) -> None:
    ((code, text),) = fetch(tmp_path, DATA, HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 8 and "name the copy" in text


def test_a_local_folder_of_that_name_is_never_taken_for_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is a file or folder here"):
        hub.fetch(HubDataset(path="me/data", revision=REVISION), tmp_path / "out.parquet")


def test_outputs_are_those_of_the_graph() -> None:
    (output,) = hub.outputs(load_params(ROOT), "x")
    assert (
        output.path.as_posix() == "data/source/x.parquet"
        and hub.inputs(load_params(ROOT), "x") == []
    )
