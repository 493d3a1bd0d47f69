# SPDX-License-Identifier: Apache-2.0
"""Builds csrc with ninja: fv2v_kernels._cpu always, fv2v_kernels._cuda where nvcc is found.

Neither links nor includes torch. FV2V_CUDA=0 leaves CUDA out; FV2V_CUDA_ARCHS names other targets; CUDA_HOME
and CXX choose the compilers. FV2V_CXX_FLAGS is added where C++ is compiled and linked, and symbols are then
kept: for sanitizers and debuggers.
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CSRC = Path("csrc")
CPU_SOURCES = [*sorted(map(str, [*CSRC.glob("*/cpu.cpp"), *CSRC.glob("cpu/*.cpp")])), "csrc/bindings_cpu.cpp"]
CUDA_SOURCES = [*sorted(map(str, CSRC.glob("*/cuda.cu"))), "csrc/bindings_cuda.cpp"]
HEADERS = sorted(map(str, CSRC.rglob("*.h")))
ARCHS = os.environ.get("FV2V_CUDA_ARCHS", "75;80;86;89;90;100;120")
CXX_FLAGS = (
    "-O3 -std=c++17 -fPIC -fvisibility=hidden -fopenmp -fno-math-errno -fno-trapping-math -Wall -Wno-psabi"
)
MORE_FLAGS = os.environ.get("FV2V_CXX_FLAGS", "").strip()


def find_nvcc() -> str | None:
    """nvcc of CUDA_HOME, of PATH, or of the usual place; None where CUDA is left out or absent."""
    if os.environ.get("FV2V_CUDA") == "0":
        return None
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    places = [f"{home}/bin/nvcc" for home in homes if home] + [
        shutil.which("nvcc"),
        "/usr/local/cuda/bin/nvcc",
    ]
    return next((place for place in places if place and Path(place).exists()), None)


def ask(*command: str) -> str:
    """What a tool prints; a found but broken nvcc must fail loudly, not quietly build for the CPU alone."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        output = f"{error.stdout}{error.stderr}" if isinstance(error, subprocess.CalledProcessError) else ""
        sys.exit(
            f"fv2v: {' '.join(command)} failed: {error}\n{output}\n"
            "Mend this CUDA toolkit, point CUDA_HOME at another, or set FV2V_CUDA=0 for a CPU build."
        )
    return done.stdout + done.stderr


def in_ninja(path: Path | str) -> str:
    """A path as ninja's build lines want it: the tree may live in a folder with spaces in its name."""
    return re.sub(r"([$: ])", r"$\1", str(path))


def in_command(option: str, path: Path | str) -> str:
    """An option and its path as one word of a command that ninja hands to the shell."""
    return shlex.quote(f"{option}{path}").replace("$", "$$")


class Nvcc:
    """A CUDA toolkit: where it lives and what it can compile for."""

    def __init__(self, path: str) -> None:
        self.path = path
        version = re.search(r"V([\d.]+)", ask(path, "--version"))
        top = re.search(r"^#\$ TOP=(.*)$", ask(path, "-dryrun", "-x", "cu", "/dev/null"), re.M)
        # nvcc on PATH may be a wrapper outside the toolkit
        self.home = Path(top.group(1)).resolve() if top else Path(path).resolve().parent.parent
        self.version = version.group(1) if version else "unknown"
        known = set(re.findall(r"compute_(\d+)", ask(path, "--list-gpu-arch")))
        self.archs = [arch for arch in re.split(r"[;, ]+", ARCHS) if arch in known]
        if not self.archs:
            sys.exit(
                f"fv2v: {path} knows none of the targets {ARCHS}; "
                f"set FV2V_CUDA_ARCHS to some of {sorted(known)}"
            )

    @property
    def targets(self) -> str:
        """Machine code for each target, and PTX of the newest for what comes after it."""
        codes = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in self.archs]
        newest = self.archs[-1]
        return " ".join([*codes, f"-gencode=arch=compute_{newest},code=compute_{newest}"])

    @property
    def runtime(self) -> Path:
        """The folder of libcudart_static.a."""
        places = [self.home / "lib64", self.home / "lib", self.home / "targets/x86_64-linux/lib"]
        found = next((place for place in places if (place / "libcudart_static.a").exists()), None)
        if found is None:
            sys.exit(
                f"fv2v: no libcudart_static.a under {self.home}; install the CUDA runtime's development files"
            )
        return found


class BuildWithNinja(build_ext):
    def run(self) -> None:
        super().run()
        if not any(each.name.endswith("_cuda") for each in self.extensions):
            # pip builds in the tree and reuses build/lib: an old CUDA module must not ship in a CPU build
            Path(self.get_ext_fullpath("fv2v_kernels._cuda")).unlink(missing_ok=True)

    def build_extensions(self) -> None:
        nvcc_path = find_nvcc()
        nvcc = Nvcc(nvcc_path) if nvcc_path else None
        if nvcc:
            print(f"fv2v: CUDA {nvcc.version} at {nvcc.home}, for sm_{', sm_'.join(nvcc.archs)}", flush=True)
        else:
            print("fv2v: no nvcc (or FV2V_CUDA=0): building the CPU kernels only", flush=True)
            self.extensions = [each for each in self.extensions if not each.name.endswith("_cuda")]
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        (build / "build.ninja").write_text("\n".join(self._rules(nvcc) + self._targets(build, nvcc)) + "\n")
        subprocess.check_call([self._ninja(), "-C", str(build), *(["-v"] if self.verbose > 1 else [])])

    def get_outputs(self) -> list[str]:
        return [self.get_ext_fullpath(each.name) for each in self.extensions]

    @staticmethod
    def _ninja() -> str:
        try:
            import ninja
        except ImportError:
            return shutil.which("ninja") or sys.exit("fv2v: no ninja; pip install ninja")
        return str(Path(ninja.BIN_DIR) / "ninja")

    @staticmethod
    def _rules(nvcc: Nvcc | None) -> list[str]:
        import pybind11

        folders: list[Path | str] = [CSRC.resolve(), pybind11.get_include(), sysconfig.get_paths()["include"]]
        csrc, *_ = includes = [in_command("-I", folder) for folder in folders]
        cxx = os.environ.get("CXX", "g++")
        rules = [
            "ninja_required_version = 1.5",
            "rule cxx",
            f"  command = {cxx} -MMD -MF $out.d {CXX_FLAGS} {MORE_FLAGS} {' '.join(includes)} $defines "
            "-c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule link",
            f"  command = {cxx} -shared {MORE_FLAGS or '-s'} $in -o $out $libraries",
        ]
        if nvcc:
            rules += [
                "rule nvcc",
                f"  command = {in_command('', nvcc.path)} -O3 -std=c++17 "
                f"-Xcompiler -fPIC,-fvisibility=hidden -Xptxas -v -Xfatbin -compress-all "
                f"--threads 2 {nvcc.targets} {csrc} -MMD -MF $out.d -c $in -o $out",
                "  depfile = $out.d",
                "  deps = gcc",
            ]
        return rules

    def _targets(self, build: Path, nvcc: Nvcc | None) -> list[str]:
        lines = self._module("_cpu", CPU_SOURCES, build, "-fopenmp", "")
        if nvcc:
            quoted = (
                f"-DFV2V_CUDA_VERSION='\"{nvcc.version}\"' -DFV2V_CUDA_ARCHS='\"{' '.join(nvcc.archs)}\"'"
            )
            libraries = f"{in_command('-L', nvcc.runtime)} -lcudart_static -lrt -lpthread -ldl"
            include = in_command("-I", nvcc.home / "include")
            lines += self._module("_cuda", CUDA_SOURCES, build, libraries, f"{quoted} {include}")
        return lines

    def _module(self, name: str, sources: list[str], build: Path, libraries: str, defines: str) -> list[str]:
        lines, objects = [], []
        for source in sources:
            object_file = build / (source.replace("/", "_") + ".o")
            rule = "nvcc" if source.endswith(".cu") else "cxx"
            lines += [
                f"build {in_ninja(object_file)}: {rule} {in_ninja(Path(source).resolve())}",
                f"  defines = {defines}",
            ]
            objects.append(in_ninja(object_file))
        out = Path(self.get_ext_fullpath(f"fv2v_kernels.{name}")).resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        return [*lines, f"build {in_ninja(out)}: link {' '.join(objects)}", f"  libraries = {libraries}"]


def extensions() -> list[Extension]:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print(
            "fv2v: not Linux on x86-64: the compiled kernels are left out, stock PyTorch serves", flush=True
        )
        return []
    return [
        Extension("fv2v_kernels._cpu", CPU_SOURCES, depends=HEADERS),
        Extension("fv2v_kernels._cuda", CUDA_SOURCES, depends=HEADERS),
    ]


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildWithNinja})
