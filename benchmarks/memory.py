"""Memory of a process as the kernel counts it; the standard library alone, so that any Python can run it."""

from __future__ import annotations

from pathlib import Path

MIB = 1 << 20


def memory_bytes(field_name: str, pid: int | str = "self") -> int:
    """VmRSS (resident now) or VmHWM (resident at most) of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field_name)


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory, exact to the page."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise KeyError("Rss")


def forget_peak(pid: int | str = "self") -> int:
    """VmHWM begins anew at what is resident now, which is returned."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_bytes("VmHWM", pid)


def available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise KeyError("MemAvailable")


def warm_host(wanted_bytes: int) -> int:
    """Touch memory and give it back, so that a virtual machine's host has it backed; returns the bytes.

    Without it the first use of each page may wait for the host, and times are up to three times longer.
    """
    touched = min(wanted_bytes, available_bytes() // 2)
    _ = b"\1" * touched
    return touched
