"""The process of a driver, told from all others on all machines."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def driver() -> str:
    """host/process/start: the start tells a process from a later one with its number."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def died_here(driver: str | None) -> bool:
    """True if the driver was a process of this machine, and is there no more: its claims need not expire."""
    host, _, process = (driver or "").partition("/")
    number, _, started = process.partition("/")
    if host != socket.gethostname() or not number.isdigit() or not started:
        return False
    return _started(int(number)) != started


def _started(process: int) -> str:
    """When the process began, in the kernel's ticks after its start; '' where there is none, or no /proc."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    after_name = status.rpartition(")")[2].split()
    return "" if after_name[0] == "Z" else f"{boot}-{after_name[19]}"
