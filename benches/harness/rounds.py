"""Carries sections out: servers are started, put under load, and stopped; what the load generator says is kept."""

import json
import math
import subprocess

from . import build
from .machine import LOAD_CORE, Watch, pin
from .sections import EVENTS, FLOOR, SOCKEYE, Attack, Memory
from .servers import Failed
from .stats import orders

LOAD_SECONDS = 300
WARM_UP = 0.3
"""Of the length of a round."""
COMPILING = 1.0
"""So many seconds those work before the first round whose code is compiled while it runs."""
COMPILED_LATE = ("ws", "bun")


def load(server, *arguments):
    """Runs the load generator on one server and returns its report."""
    sockeye = str(build.binary(build.PROJECT, "sockeye"))
    command = [sockeye, "bench", *arguments, server.url, "--pid", str(server.pid), "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LOAD_SECONDS, check=False, preexec_fn=pin(LOAD_CORE)
        )
    except subprocess.TimeoutExpired as late:
        raise Failed(f"not done after {LOAD_SECONDS} s") from late
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing said"]
        raise Failed(f"{arguments[0]}: {said[0]}")
    return json.loads(done.stdout)


def measure(section, kit, options):
    """One section: `{"servers", "rounds", "failures", "foreign"}`, where a round is `{server: report}`."""
    kinds = {Memory: memory, Attack: attack}
    servers = [name for name in section.servers if options.wants(name)]
    if section.mode in ("echo", "large", "idle"):
        servers += [name for name in kit.extra if name not in servers]
    return {"servers": servers, **kinds.get(type(section), interleaved)(section, servers, kit, options)}


def interleaved(section, servers, kit, options):
    """Every server once in each round, in another order each time; whoever fails is out."""
    seconds = options.seconds * section.seconds
    count = max(math.ceil(options.rounds * section.rounds), 2)
    running, failures, rounds = {}, {}, []
    try:
        for name in servers:
            try:
                running[name] = kit.start(name, section.mode)
            except Failed as failure:
                failures[name] = str(failure)
        own = {name: extra(section, name) for name in running}
        if section.load[0] == "fanout" and FLOOR in running:
            raw = f"--raw={delivery_bytes(section, running)}"
            own |= {name: [raw] for name in running if name.startswith(FLOOR)}
        timing = ["--seconds", str(seconds)]
        if section.load[0] in ("echo", "fanout"):
            timing += ["--warm-up", str(seconds * WARM_UP)]
        watch = Watch([server.pid for server in running.values()])
        for name in running.keys() & set(COMPILED_LATE):
            try:
                load(running[name], *section.load, *own[name], "--seconds", str(COMPILING))
            except Failed as failure:
                failures[name] = str(failure)
        cycle = orders(list(running))
        for index in range(count):
            rounds.append({})
            # Not from one row of the cycle to the next, as fewer rounds than rows should be spread over it.
            for name in cycle[index * max(len(cycle) // count, 1) % len(cycle)] if cycle else ():
                if name in failures:
                    continue
                try:
                    rounds[-1][name] = load(running[name], *section.load, *own[name], *timing)
                except Failed as failure:
                    failures[name] = str(failure)
        foreign = watch.foreign()
    finally:
        for server in running.values():
            server.stop()
    return {"rounds": rounds, "failures": failures, "foreign": foreign, "seconds": seconds}


def extra(section, name):
    """What the load generator is told beside the section's own arguments."""
    if name.startswith(FLOOR):
        return ["--raw"]
    if name == EVENTS:
        return ["--events"]
    return ["--broadcast"] if section.load[0] == "fanout" and not name.startswith(SOCKEYE) else []


def delivery_bytes(section, running):
    """How long a delivery of ours is on the wire; the floor sends as much."""
    try:
        return load(running[SOCKEYE], *section.load, "--seconds", "0.1", "--warm-up", "0")["delivery_bytes"]
    except (Failed, KeyError):
        return int(section.load[section.load.index("--payload") + 1]) + 4


def memory(section, servers, kit, options):
    """Each server once, alone: nothing here depends on how fast the machine is."""
    measured, failures = {}, {}
    for name in servers:
        arguments = [*section.load, "--connections", str(options.connections), *extra(section, name)]
        try:
            with kit.start(name, section.mode) as server:
                measured[name] = load(server, *arguments)
        except Failed as failure:
            failures[name] = str(failure)
    return {"rounds": [measured], "failures": failures, "connections": options.connections}


def attack(section, servers, kit, options):
    """A process for each of the two attacks."""
    measured, failures = {}, {}
    for name in servers if not options.quick else [name for name in servers if name == SOCKEYE]:
        try:
            measured[name] = {}
            for kind in ("header", "pings"):
                with kit.start(name, section.mode) as server:
                    measured[name][kind] = load(server, "attack", kind)
        except Failed as failure:
            del measured[name]
            failures[name] = str(failure)
    return {"rounds": [measured], "failures": failures}
