"""Build of the compiled index; everything else about the package is in pyproject.toml.

Switches, by environment:
  FUSION_DEBUG=1          bounds checks on, no optimisation, every record a block of its own for views
  FUSION_SANITIZE=1       the same with the address and undefined-behaviour sanitizers
  FUSION_SANITIZE=thread  the same with the thread sanitizer
  FUSION_WERROR=1         warnings of the C compiler, and warnings and performance hints of Cython, are errors
  FUSION_ANNOTATE=1       write fusion/_index.html, Cython's annotation
"""

import io
import os
import sys
from contextlib import redirect_stderr
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

SANITIZERS = {
    "1": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    "thread": ["-fsanitize=thread"],
}


def value(name: str) -> str:
    """What the switch is set to, "" when it is off."""
    setting = os.environ.get(name, "")
    return "" if setting == "0" else setting


def cythonized(modules: list[Extension], **options: object) -> list[Extension]:
    """The modules as C. Cython can make errors of its warnings but not of its hints: all it says counts."""
    if not value("FUSION_WERROR"):
        return cythonize(modules, **options)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            modules = cythonize(modules, force=True, **options)
    finally:
        sys.stderr.write(said.getvalue())
    if said.getvalue():
        sys.exit("FUSION_WERROR: Cython is not silent")
    return modules


SANITIZE = value("FUSION_SANITIZE")
DEBUG = bool(SANITIZE or value("FUSION_DEBUG"))

if SANITIZE and SANITIZE not in SANITIZERS:
    sys.exit(f"FUSION_SANITIZE: one of {', '.join(SANITIZERS)} is needed, not {SANITIZE}")

compile_args = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unused-function"]
# Interpreters are often built with -g, which makes the module three times as large and tells the directories
# of this machine.
compile_args += ["-O1", "-g"] if DEBUG else ["-O3", "-g0"]
link_args: list[str] = []
if DEBUG:
    compile_args.append("-DFUSION_SMALL_BLOCKS")
if SANITIZE:
    compile_args += [*SANITIZERS[SANITIZE], "-fno-omit-frame-pointer"]
    link_args += SANITIZERS[SANITIZE]
if value("FUSION_WERROR"):
    compile_args.append("-Werror")

directives = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
}

setup(
    ext_modules=cythonized(
        [
            Extension(
                name,
                [f"{name.replace('.', '/')}.pyx"],
                depends=sorted(glob("fusion/_core/*.h") + headers),
                include_dirs=["fusion"],
                extra_compile_args=compile_args,
                extra_link_args=link_args,
            )
            for name, headers in {
                "fusion._index": [],
                "fusion.agent._scan": ["fusion/agent/listing.h"],
            }.items()
        ],
        compiler_directives=directives,
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        annotate=bool(value("FUSION_ANNOTATE")),
    )
)
