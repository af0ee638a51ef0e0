"""The machine: its cores, what else runs on it, and its name."""

import os
import platform
import re
import resource
import time
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
QUIET = 0.05
"""More of the machine than this taken by others is worth a note."""


def pin(core):
    """For `preexec_fn`: ties the child to a core, if the machine has more than one."""
    cores = sorted(os.sched_getaffinity(0))
    return (lambda: os.sched_setaffinity(0, {cores[core]})) if len(cores) > core and len(cores) > 1 else None


def name():
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"


def cpu_seconds(pid):
    """CPU time of a process with all its threads; 0 when it is gone."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        return 0.0


def busy_seconds():
    """What all processors have worked since the start, for us, for others, or for other machines on the host."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = (ticks + [0] * 8)[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """What this program and its finished children have worked."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Watch:
    """How much of the machine was taken by others between its start and `foreign`."""

    def __init__(self, pids):
        self.pids = pids
        self.since, self.busy, self.own = time.monotonic(), busy_seconds(), self._own()

    def _own(self):
        return own_seconds() + sum(cpu_seconds(pid) for pid in self.pids)

    def foreign(self):
        """The share of all processors, from 0 to 1."""
        elapsed = (time.monotonic() - self.since) * (os.cpu_count() or 1)
        others = busy_seconds() - self.busy - (self._own() - self.own)
        return min(max(others / elapsed, 0.0), 1.0) if elapsed > 0 else 0.0
