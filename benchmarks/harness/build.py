"""C programs, compiled on the spot into build/bench."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .process import BenchmarkError

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "bench"


def compile_c(source: Path, *options: str) -> Path:
    """The program made of one C file; compiled anew only if it, or a file beside it, is newer."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkError("no C compiler (Debian: apt-get install gcc libc6-dev)")
    program = OUTPUT / source.stem
    newest = max(file.stat().st_mtime for file in source.parent.glob("*.[ch]"))
    if not program.exists() or program.stat().st_mtime < newest:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        command = [compiler, "-O2", "-Wall", "-Wextra", *options, "-o", str(program), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise BenchmarkError(f"{source.name} does not compile:\n{done.stderr}")
    return program
