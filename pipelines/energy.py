"""The energy that this machine used during a piece of work, by counters of its hardware.

1. Processors: the counters of Linux's powercap (kernel documentation, power/powercap), of packages
   and of memory. GPUs: the counter of NVML, where the package `nvidia-ml-py` is installed.
2. A counter of a processor starts again at its limit. It is read every `SAMPLE_SECONDS`, so that no
   turn is missed.
3. A counter is of a whole device: it includes what else ran there at the time. On several machines,
   only this one is measured. Nothing is estimated.
4. What cannot be read is named, with the reason. Nothing here raises.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

POWERCAP = Path("/sys/class/powercap")
SAMPLE_SECONDS = 20.0
"""A counter of 262 kJ, the usual limit, turns in 20 seconds at 13 kW only."""
MICRO, MILLI = 1e-6, 1e-3


@dataclass(frozen=True)
class Energy:
    """What was measured."""

    joules: float | None
    """None where no counter could be read."""
    counters: list[str] = field(default_factory=list)
    """Those that were added."""
    not_measured: str = ""
    """What is missing, and why."""


@dataclass
class Counter:
    """A counter of the hardware, and how far it went."""

    name: str
    unit: float
    """Joules."""
    read: Callable[[], int]
    """Raises `OSError`."""
    limit: int = 0
    """The value after which it starts again; 0 where it does not."""
    failure: str = ""
    used: int = 0
    _last: int | None = None

    def sample(self) -> None:
        """(2) Adds what was used since the sample before. A counter that failed once counts no
        more.
        """
        if self.failure:
            return
        try:
            now = self.read()
        except (OSError, ValueError) as error:
            self.failure = (error.strerror if isinstance(error, OSError) else None) or str(error)
            return
        if self._last is not None:
            self.used += now - self._last if now >= self._last else now + self.limit - self._last
        self._last = now

    @property
    def joules(self) -> float:
        """What was used between the first and the last sample."""
        return self.used * self.unit


class Meter:
    """Measures while it is entered."""

    def __init__(
        self,
        environ: Mapping[str, str],
        powercap: Path = POWERCAP,
        nvml: Callable[[], Any] = lambda: importlib.import_module("pynvml"),
        every: float = SAMPLE_SECONDS,
    ) -> None:
        self._processors = list(_processors(powercap))
        self._gpus, self._no_gpus = _gpus(nvml, environ)
        self.samples = 0
        """How often the counters were read."""
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.sample()
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.sample()

    def used(self, device: str, devices: int) -> Energy:
        """The energy of the processors; of a training on `cuda`, of its GPUs, too."""
        missing = [] if self._processors else ["processors: this machine shows no counter of them"]
        counters = list(self._processors)
        if device == "cuda":
            counters += self._gpus[:devices]
            if self._no_gpus or len(self._gpus) < devices:
                missing.append(f"GPUs: {self._no_gpus or f'{len(self._gpus)} of {devices} found'}")
        elif device != "cpu":
            missing.append(f"{device}: no counter of it is known here")
        missing += [f"{each.name}: {each.failure}" for each in counters if each.failure]
        measured = [each for each in counters if not each.failure]
        joules = round(sum(each.joules for each in measured), 3) if measured else None
        return Energy(joules, [each.name for each in measured], "; ".join(missing))

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            self.sample()

    def sample(self) -> None:
        """Reads every counter."""
        for counter in (*self._processors, *self._gpus):
            counter.sample()
        self.samples += 1


def _processors(powercap: Path) -> Iterator[Counter]:
    """(1) Packages, and memory beside them. Other zones are parts of these, or hold them."""
    for zone in sorted(powercap.glob("intel-rapl:*")):  # AMD's have this name, too
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            limit = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if name.startswith("package") or name == "dram":
            shown = name if name != "dram" else f"dram of {zone.name.rpartition(':')[0]}"
            yield Counter(shown, MICRO, _reading(zone / "energy_uj"), limit)


def _reading(file: Path) -> Callable[[], int]:
    return lambda: int(file.read_text(encoding="ascii"))


def _gpus(load: Callable[[], Any], environ: Mapping[str, str]) -> tuple[list[Counter], str]:
    """The GPUs that a training here can use, in their order; and why there are none."""
    try:
        nvml = load()
    except ImportError:
        return [], "the package nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
        handles = [_handle(nvml, name) for name in _visible(nvml, environ)]
    except nvml.NVMLError as error:
        return [], str(error)
    return [Counter(f"gpu {name}", MILLI, _energy(nvml, gpu)) for name, gpu in handles], ""


def _visible(nvml: Any, environ: Mapping[str, str]) -> list[str]:
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(at) for at in range(nvml.nvmlDeviceGetCount())]
    return [name.strip() for name in given.split(",") if name.strip()]


def _handle(nvml: Any, name: str) -> tuple[str, Any]:
    """A GPU by its number, or by its UUID."""
    if name.isdecimal():
        return name, nvml.nvmlDeviceGetHandleByIndex(int(name))
    return name, nvml.nvmlDeviceGetHandleByUUID(name)


def _energy(nvml: Any, gpu: Any) -> Callable[[], int]:
    """Reads what a GPU used since its driver was loaded, in millijoules."""

    def read() -> int:
        try:
            return int(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu))
        except nvml.NVMLError as error:
            raise OSError(str(error)) from None

    return read


def here() -> Meter:
    """The meter of this machine."""
    return Meter(os.environ)
