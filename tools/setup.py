#!/usr/bin/env python3
"""Set up what the Makefile's targets need. Each step looks first and does nothing when all is in place.

    tools/setup.py system       say, and where it may install, the system packages that are missing
    tools/setup.py demo         .venv with the wheel of this checkout and what the examples need
    tools/setup.py test         .venv with the wheel of this checkout and every development tool
    tools/setup.py dev          the same, but editable: the checkout itself is imported
    tools/setup.py bench        .venv with the wheel of this checkout and its peers, those of node too
    tools/setup.py node         npm packages of tests/js

Standard library only, and old syntax on purpose: a Python that is too old must get as far as saying so.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
WHEELS = ROOT / "build" / "wheel"

VENV_PACKAGE = f"python3.{sys.version_info[1]}-venv"

# program looked for -> Debian package that has it
PROGRAMS = {
    "redis-server": "redis-server",
    "nginx": "nginx",
    "haproxy": "haproxy",
    "chromium": "chromium",
    "curl": "curl",
    "node": "nodejs",
    "npm": "npm",
}


class SetupError(Exception):
    """Setting up cannot go on; the message says what to do."""


def say(text):
    print("setup: " + text, flush=True)


def run(*command, **options):
    return subprocess.run([str(part) for part in command], cwd=str(ROOT), check=True, **options)


def digest(*paths):
    """One hash over files, and over all files in folders, by name and content."""
    total = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


def stamped(stamp, value):
    return stamp.is_file() and stamp.read_text() == value


# --- system packages ------------------------------------------------------------------------------


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing_packages():
    names = [package for program, package in PROGRAMS.items() if not find(program)]
    return names if has_venv() else [VENV_PACKAGE, *names]


def has_venv():
    check = "import ensurepip, venv"
    return subprocess.run([sys.executable, "-c", check], stderr=subprocess.DEVNULL).returncode == 0


def become_root():
    """The words to put before a command that needs root, or None where we may not."""
    if os.geteuid() == 0:
        return []
    if find("sudo") and subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL).returncode == 0:
        return ["sudo", "-n"]
    return None


def install(packages):
    """Install Debian packages where we may; whether it worked."""
    wanted = "apt-get install --no-install-recommends " + " ".join(packages)
    prefix = become_root()
    if not find("apt-get") or prefix is None:
        say(f"missing: {', '.join(packages)}. On Debian: sudo {wanted}")
        return False
    say("installing what is missing: " + ", ".join(packages))
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    try:
        run(*apt, "update", "-qq")
        run(*apt, "install", "-y", "-qq", "--no-install-recommends", *packages, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        say("that failed; by hand: sudo " + wanted)
        return False
    return True


def system():
    packages = missing_packages()
    if packages and not install(packages):
        say("going on: tests that need these are skipped with a reason, and fail under CI=true")


# --- the virtual environment ----------------------------------------------------------------------


def make_venv():
    version = sys.version.split()[0]
    stamp = VENV / ".stamp-python"
    if PYTHON.exists() and stamped(stamp, version):
        return
    if not has_venv() and not install([VENV_PACKAGE]):
        raise SetupError("this Python has no venv: see above, and try again")
    say("making .venv with Python " + version)
    run(sys.executable, "-m", "venv", "--clear", VENV)
    stamp.write_text(version)


def pip(*arguments):
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def build_wheel():
    """The wheel of the sources as they are."""
    import tomllib

    with open(str(ROOT / "pyproject.toml"), "rb") as file:
        requires = tomllib.load(file)["build-system"]["requires"]
    pip("build", *requires)
    shutil.rmtree(str(WHEELS), ignore_errors=True)
    build = [PYTHON, "-m", "build", "--wheel", "--no-isolation", "--outdir", WHEELS]
    try:
        run(*build, ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.CalledProcessError as error:
        sys.stdout.buffer.write(error.stdout)
        raise
    (wheel,) = WHEELS.glob("*.whl")
    return wheel


def package(extras, editable):
    """Bring .venv to: our package as it is now, and the extras' dependencies as pyproject.toml wants them."""
    make_venv()
    dependencies, installed = VENV / ".stamp-dependencies", VENV / ".stamp-package"
    project = digest(ROOT / "pyproject.toml")
    sources = "editable" if editable else digest(ROOT / "src", ROOT / "pyproject.toml", ROOT / "README.md")
    have = dependencies.read_text().split() if dependencies.is_file() else []
    complete = project in have and set(extras) <= set(have)
    fresh = stamped(installed, sources) and (editable or any(WHEELS.glob("*.whl")))
    if complete and fresh:
        return
    if project in have:
        extras = sorted(set(extras) | set(have) - {project})
    dependencies.unlink(missing_ok=True)
    installed.unlink(missing_ok=True)
    if editable:
        say("installing the checkout, editable")
        pip("--editable", f"{ROOT}[{','.join(extras)}]")
    else:
        say("building and installing the wheel")
        wheel = build_wheel()
        if not complete:
            pip(f"{wheel}[{','.join(extras)}]")
        pip("--force-reinstall", "--no-deps", wheel)
    dependencies.write_text(" ".join([project, *extras]))
    installed.write_text(sources)


def demo():
    # Whoever works on an editable install wants to see the sources they edit.
    package(["examples"], editable=stamped(VENV / ".stamp-package", "editable"))


def test():
    package(["dev", "examples"], editable=False)


def dev():
    package(["dev", "examples"], editable=True)


def bench():
    # Built, not editable: what is measured is what is installed. Who works editable measures that.
    package(["bench"], editable=stamped(VENV / ".stamp-package", "editable"))
    node_peers()


# --- npm packages ---------------------------------------------------------------------------------


def node():
    folder = ROOT / "tests" / "js"
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / ".stamp"
    if not lock.is_file() or stamped(stamp, digest(lock)):
        return
    if not find("npm"):
        say("npm is missing: the checks of the browser client are skipped")
        return
    say("installing the npm packages of tests/js")
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=str(folder), check=True)
    stamp.write_text(digest(lock))


def node_peers():
    """The npm packages that benchmarks/ compares with, as pinned."""
    folder = ROOT / "benchmarks" / "servers"
    wanted, stamp = digest(folder / "package.json"), folder / "node_modules" / ".stamp"
    if stamped(stamp, wanted):
        return
    if not find("npm"):
        say("npm is missing: node's ws and socket.io are left out of the benchmarks")
        return
    say("installing the npm packages of benchmarks/servers")
    install = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(install, cwd=str(folder), check=True)
    stamp.write_text(wanted)


def main(names):
    steps = {"system": system, "demo": demo, "test": test, "dev": dev, "bench": bench, "node": node}
    if not names or not set(names) <= set(steps):
        print(__doc__)
        return 2
    if sys.version_info < (3, 11):  # noqa: UP036
        say(f"rtbridge needs Python 3.11 or newer; this is {sys.version.split()[0]}")
        say("try again with another one, for example: make test PYTHON=python3.12")
        return 1
    try:
        for name in names:
            steps[name]()
    except subprocess.CalledProcessError as error:
        say("this failed: " + " ".join(str(part) for part in error.cmd))
        say("its own words are above. Is the network there? If .venv is in a strange state: make clean")
        return 1
    except SetupError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
