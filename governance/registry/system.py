"""The load of this machine, under the names that MLflow gives to its system metrics, so that its
pages show them on a tab of their own.

GPUs are measured where the package `nvidia-ml-py` is installed, as MLflow does it.
"""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

SAMPLE_SECONDS = 10.0
MEGABYTE = 1e6


class SystemMonitor:
    """Measures processor, memory, disk, network and GPUs, at most once in `SAMPLE_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = clock()
        self._step = 0
        self._network = psutil.net_io_counters()
        self._gpus = _gpus()
        psutil.cpu_percent()  # the first answer is no measurement

    def sample(self) -> tuple[int, dict[str, float]] | None:
        """The number of the sample, and metric to value; None before the next one is due."""
        if self._clock() < self._due:
            return None
        self._due = self._clock() + SAMPLE_SECONDS
        self._step += 1
        values = self._machine() | self._graphics()
        return self._step - 1, {f"system/{name}": round(value, 1) for name, value in values.items()}

    def _machine(self) -> dict[str, float]:
        memory, disk = psutil.virtual_memory(), shutil.disk_usage(".")
        values = {
            "cpu_utilization_percentage": float(psutil.cpu_percent()),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": 100 * memory.used / memory.total,
            "disk_usage_percentage": 100 * disk.used / disk.total,
            "disk_usage_megabytes": disk.used / MEGABYTE,
            "disk_available_megabytes": disk.free / MEGABYTE,
        }
        network, began = psutil.net_io_counters(), self._network
        if network is not None and began is not None:
            values["network_receive_megabytes"] = (network.bytes_recv - began.bytes_recv) / MEGABYTE
            values["network_transmit_megabytes"] = (
                network.bytes_sent - began.bytes_sent
            ) / MEGABYTE
        return values

    def _graphics(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for at, (nvml, gpu) in enumerate(self._gpus):
            with suppress(nvml.NVMLError):
                memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
                values[f"gpu_{at}_memory_usage_percentage"] = 100 * memory.used / memory.total
                values[f"gpu_{at}_memory_usage_megabytes"] = memory.used / MEGABYTE
                load = nvml.nvmlDeviceGetUtilizationRates(gpu)
                values[f"gpu_{at}_utilization_percentage"] = float(load.gpu)
                watts = nvml.nvmlDeviceGetPowerUsage(gpu) / 1000
                values[f"gpu_{at}_power_usage_watts"] = watts
        return values


def _gpus() -> list[tuple[Any, Any]]:
    """The library and each GPU; empty without GPUs or without the library."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
        return [
            (nvml, nvml.nvmlDeviceGetHandleByIndex(at)) for at in range(nvml.nvmlDeviceGetCount())
        ]
    except nvml.NVMLError:
        return []
