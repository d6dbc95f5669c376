"""`countersign record-key`: makes the project's key for record ids and prints the matching line of
params.yaml.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import click

from governance.base.errors import ConfigError
from pipelines.record_ids import key_id_of, read_key

DEFAULT = Path("data/record.key")


@click.command("record-key")
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file: Path, as_json: bool) -> None:
    """Make a key for record ids in FILE (data/record.key), readable by you alone; or show the id of
    one there is.

    Keep it with the data and out of git. Whoever has it can tell whether a text they know is in the
    data.
    """
    made = not file.exists()
    if made:
        write_key(file, secrets.token_bytes(32))
    row = {"key": str(file), "key_id": key_id_of(read_key(file))}
    if as_json:
        click.echo(json.dumps({**row, "made": made}))
        return
    click.echo(f"{'made' if made else 'found'} {file}; keep a copy with the data, and never in git")
    click.echo(
        f"next: in params.yaml set\n  records: {{key: {row['key']}, key_id: {row['key_id']}}}"
    )


def write_key(path: Path, secret: bytes) -> None:
    """Writes a new key file with mode 0600. Raises `ConfigError` if the file exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            "there is a file already", where=str(path), fix="choose another name"
        ) from None
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secret.hex() + "\n")
        stream.flush()
        os.fsync(stream.fileno())
