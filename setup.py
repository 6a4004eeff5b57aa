"""Build of the compiled index; everything else about the package is in pyproject.toml.

Switches, by environment:
  FUSION_DEBUG=1      bounds checks on, no optimisation
  FUSION_SANITIZE=1   address and undefined-behaviour sanitizers
  FUSION_ANNOTATE=1   write fusion/_index.html, Cython's annotation
"""

import os
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup


def switch(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


DEBUG = switch("FUSION_DEBUG") or switch("FUSION_SANITIZE")

compile_args = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unused-function"]
compile_args += ["-O1", "-g"] if DEBUG else ["-O3"]
link_args: list[str] = []
if switch("FUSION_SANITIZE"):
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    compile_args += flags
    link_args += flags

directives = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
}

setup(
    ext_modules=cythonize(
        [
            Extension(
                "fusion._index",
                ["fusion/_index.pyx"],
                depends=sorted(glob("fusion/_core/*.h")),
                include_dirs=["fusion"],
                extra_compile_args=compile_args,
                extra_link_args=link_args,
            )
        ],
        compiler_directives=directives,
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        annotate=switch("FUSION_ANNOTATE"),
    )
)
