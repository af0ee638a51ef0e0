"""Builds what is measured. What cannot be built is a reason why its cells are empty, not the end of the run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .sections import EVENTS, LIBRARY, ONE_BY_ONE, RUST, SOCKEYE

BENCHES = Path(__file__).resolve().parent.parent
PROJECT = BENCHES.parent
JS = BENCHES / "peers" / "js"
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
CACHES = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
CACHE = Path(os.environ.get("SOCKEYE_CACHE") or CACHES / "sockeye")


def binary(folder, name):
    """Where cargo put it; CARGO_TARGET_DIR, when set, holds for both workspaces."""
    return Path(os.environ.get("CARGO_TARGET_DIR", folder / "target")).resolve() / "release" / name


def modules():
    """Where `npm ci` put what the servers in JavaScript need: outside the clone."""
    return CACHE / "benches-js"


def bun():
    """Bun's binary, from the package of this platform: the first that runs on this processor."""
    for program in sorted(modules().glob("node_modules/@oven/bun-*/bin/bun*")):
        if run([program, "--version"]) is None:
            return program
    return None


def nginx():
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def run(command, **options):
    """`None` when the command succeeded, else the last line that it wrote."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")] or done.stderr.splitlines()[-1:]
    return lines[0].strip() if lines else f"status {done.returncode}"


def cargo(folder, *arguments):
    return run(["cargo", "build", "--release", "--locked", "--quiet", *arguments], cwd=folder)


def build(names, say):
    """Builds the servers of these names, the floor and ourselves. Returns for each that failed why."""
    failures = {}
    say("building the floor and sockeye")
    for folder, arguments in ((BENCHES, ("--package", "floor")), (PROJECT, ("--bin", "sockeye"))):
        if why := cargo(folder, *arguments):
            raise SystemExit(f"run: {' '.join(arguments)}: {why}")
    wanted = [name for name in (LIBRARY, *RUST) if name in names]
    if wanted:
        say("building the servers on Rust libraries")
        # All at once is quickest; only when that fails it matters which.
        if cargo(BENCHES, "--package", "peers", *(f"--bin={name}" for name in wanted)):
            tried = {name: cargo(BENCHES, "--package", "peers", f"--bin={name}") for name in wanted}
            failures |= {name: f"does not build: {why}" for name, why in tried.items() if why}
    if not {"ws", "bun"}.isdisjoint(names):
        say("installing npm packages")
        if why := npm():
            failures |= {name: f"npm ci: {why}" for name in ("ws", "bun")}
        elif bun() is None:
            failures["bun"] = "no package of Bun for this machine"
    if "nchan" in names and not (nginx() and NCHAN.exists()):
        say("installing nginx with nchan")
        debian("nginx-light", "libnginx-mod-nchan")
        if not (nginx() and NCHAN.exists()):
            failures["nchan"] = "not measured: nginx with nchan is not installed"
    return failures


def npm():
    """`npm ci`, when the lock file is another one than last time. No scripts: the packages bring their binaries."""
    folder = modules()
    stamp, lists = folder / "complete", ("package.json", "package-lock.json")
    wanted = "".join((JS / name).read_text() for name in lists)
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for name in lists:
        shutil.copy(JS / name, folder / name)
    why = run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], cwd=folder)
    if why is None:
        stamp.write_text(wanted)
    return why


def debian(*packages):
    """Installs packages, as root or with a sudo that asks nothing; else nothing happens."""
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    run([*as_root, *apt, "update"])
    run([*as_root, *apt, "--yes", "--no-install-recommends", "install", *packages])


def versions():
    """The version of each server, from the lock files and from the programs themselves."""
    locked = (BENCHES / "Cargo.lock").read_text()
    found = {}
    for crate in RUST:
        # Of two versions in the tree the newer one is ours; the other is inside of axum.
        every = re.findall(rf'^name = "{crate}"\nversion = "(.*)"$', locked, re.MULTILINE)
        found[crate] = max(every, key=lambda version: [int(part) for part in version.split(".")], default="")
    listed = (JS / "package.json").read_text()
    found |= {name: re.search(rf'"{name}": "(.*)"', listed)[1] for name in ("ws", "bun")}
    package = shown(["dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan"])
    server = re.search(r"nginx/([\d.]+)", shown([nginx() or "nginx", "-v"]))
    found["nchan"] = f"{package.split('+')[0].split(':')[-1]} in nginx {server[1]}" if server else ""
    sockeye = shown([str(binary(PROJECT, "sockeye")), "--version"]).split()
    commit = shown(["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"])
    found[SOCKEYE] = found[ONE_BY_ONE] = found[EVENTS] = found[LIBRARY] = " ".join([*sockeye[1:2], *([f"({commit})"] if commit else [])])
    return found


def shown(command):
    """What a command prints, or nothing when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""
