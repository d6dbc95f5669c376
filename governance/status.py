"""What there is, what is live, what waits: from parameters, policies and the log, in well under two seconds.

Nothing is hashed, no model is loaded and the registry is not asked: `countersign verify` compares files, and what
is live is what the log says. A project in which nothing has run yet has a status too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.errors import CountersignError, Problems
from governance.evidence import Evidence, LogEvidence, key_ring, policy_in_force
from governance.keys import development_key
from governance.lineage import decided, evaluated
from governance.log.sqlite import SqliteLog
from governance.machine import Machine, log_path, read_log
from governance.model import Model
from governance.policy import Policies, load_policies
from governance.yamlfile import read_yaml
