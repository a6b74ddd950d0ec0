"""Builds the programs that are run from the sources beside this file, and finds the tools for that.

Builds are kept outside the checkout, in ${PEERS_HOME:-${XDG_CACHE_HOME:-~/.cache}/registry-facade-peers}, each under a
hash of what it is made from. The folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

SOURCES = Path(__file__).resolve().parent
BUILD_WITHIN_S = 900.0  # the first build of all fetches its libraries

# command: what it is, and the Debian package that has it
_TOOLS = {
    "java": ("a JDK 17", "openjdk-17-jdk-headless"),
    "mvn": ("Maven", "maven"),
    "go": ("Go 1.18 or newer", "golang-go"),
    "etcd": ("etcd", "etcd-server"),
    "node": ("Node.js", "nodejs"),
    "npm": ("npm", "npm"),
    "nginx": ("nginx", "nginx"),
    "systemd-analyze": ("systemd", "systemd"),
    "prometheus": ("Prometheus", "prometheus"),
    "promtool": ("promtool", "prometheus"),
    "chromium": ("Chromium", "chromium"),
}


class PeerError(Exception):
    """A program cannot be built or does not start. The message is one line for a person."""


class MissingToolError(PeerError):
    """A tool is not on this machine. The message says how to get it."""


def tool(command: str) -> str:
    """Where the command is. Raises MissingToolError."""
    what, package = _TOOLS[command]
    found = shutil.which(command) or shutil.which(command, path="/usr/sbin")  # Debian's place for servers
    if found is None:
        raise MissingToolError(f"{what} is missing: '{command}' is not on the PATH (Debian: apt-get install {package})")
    return found


def maven_build(name: str, profile: str = "") -> Path:
    """The jar that the sources in folder `name` make, in the profile given."""
    java, maven = tool("java"), tool("mvn")
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    command = [maven, "-B", "-q", *([f"-P{profile}"] if profile else ()), "-Dpeers.out={out}", "package"]
    return built(name, f"{Path(name).name}.jar", command, version + profile)


def go_build(name: str) -> Path:
    """The binary that the sources in folder `name` make."""
    go = tool("go")
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    binary = Path(name).name
    return built(name, binary, [go, "build", "-buildvcs=false", "-trimpath", "-o", f"{{out}}/{binary}", "."], version)


def npm_build(name: str) -> Path:
    """The main.js in folder `name`, laid beside the packages that its package.json names."""
    node, npm = tool("node"), tool("npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    install = f"cp package.json main.js {{out}} && cd {{out}} && {npm} install --no-package-lock --no-audit --no-fund"
    return built(name, "main.js", ["/bin/sh", "-c", install], version)


def venv_build(name: str) -> Path:
    """The python of a virtual environment with the requirements.txt in folder `name`."""
    install = f"{sys.executable} -m venv {{out}}/venv && {{out}}/venv/bin/python -m pip install -q -r requirements.txt"
    return built(name, "venv/bin/python", ["/bin/sh", "-c", install], sys.version)


def built(name: str, artifact: str, command: Sequence[str], tool_version: str) -> Path:
    """Where the artifact stands, built unless a build of the same sources is kept. The command builds into `{out}`."""
    kept = _builds() / name / _digest(SOURCES / name, tool_version)
    if (kept / artifact).is_file():
        return kept / artifact
    _log.info("building %s, which takes a while the first time", name)
    kept.parent.mkdir(parents=True, exist_ok=True)
    out = Path(tempfile.mkdtemp(prefix="building-", dir=kept.parent))
    log = out / "build.log"
    with log.open("wb") as output:
        status = subprocess.run(
            [word.replace("{out}", str(out)) for word in command],
            cwd=SOURCES / name,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=BUILD_WITHIN_S,
            check=False,
        ).returncode
    if status != 0:
        raise PeerError(f"{name} could not be built: {_first_error(log)} ({log})")
    try:
        out.rename(kept)
    except OSError:  # another run has put the same build there meanwhile
        shutil.rmtree(out)
    return kept / artifact


def _builds() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PEERS_HOME") or Path(cache) / "registry-facade-peers")


def _digest(folder: Path, tool_version: str) -> str:
    digest = hashlib.sha256(tool_version.encode())
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _first_error(log: Path) -> str:
    """Maven ends with advice; what is wrong stands before it."""
    return next((line for line in _lines(log) if "ERROR" in line), last_line(log))


def last_line(log: Path) -> str:
    return (_lines(log) or ["it said nothing"])[-1]


def _lines(log: Path) -> list[str]:
    return [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
