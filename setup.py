"""Build of svconv: pure Python, plus the compiled module ``svconv._C`` where a C++ compiler is found.

``SVCONV_BUILD=auto`` (default) builds the module if it can, ``none`` leaves it out, ``cpu`` insists on it.
``SVCONV_BUILD_LEVELS`` names the instruction sets to build for (default: all), e.g. ``avx2,avx512``; it shortens a build for tests.
"""
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
X86_LEVELS = {
    "baseline": ["-msse4.2", "-mpopcnt"],
    "avx2": ["-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mlzcnt"],
    "avx512": ["-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mlzcnt",
               "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
}
FLAGS = ["-std=c++20", "-O3", "-ffp-contract=fast", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math",
         "-Wall", "-Wextra", "-Wno-psabi", "-Wno-unknown-pragmas"]
BENCH = ("__init__", "lanes", "measure", "pages", "record")      # modules of bench/ that are installed
GCC_FLAGS = ["-Wno-maybe-uninitialized"]


class MissingPiece(Exception):
    """What the compiled module needs and this machine lacks."""


def wanted_build():
    value = os.environ.get("SVCONV_BUILD", "auto").strip().lower()
    if value not in ("auto", "none", "cpu"):
        raise SystemExit(f"SVCONV_BUILD: expected auto, none or cpu, got {value!r}")
    return value


def wanted_levels():
    """Instruction sets to build for, lowest first, with their compiler flags."""
    levels = X86_LEVELS if is_x86() else {"neon": []} if is_aarch64() else {"generic": []}
    names = os.environ.get("SVCONV_BUILD_LEVELS", "").replace(",", " ").split() or list(levels)
    if not set(names) <= set(levels):
        raise SystemExit(f"SVCONV_BUILD_LEVELS: expected some of {', '.join(levels)}, got {' '.join(names)!r}")
    return {name: flags for name, flags in levels.items() if name in names}


def features(flags):
    """The processor features that the compiler may use, as a C string."""
    return '"' + " ".join(flag.removeprefix("-m") for flag in flags if "=" not in flag) + '"'


def pybind11_headers():
    """Folder with pybind11/pybind11.h: the package's, else the copy inside torch (which is not imported)."""
    for name, inside in (("pybind11", "include"), ("torch", "include")):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (Path(folder) / inside / "pybind11" / "pybind11.h").is_file():
                return str(Path(folder) / inside)
    raise MissingPiece("the pybind11 headers (pip install pybind11, or torch, which carries a copy)")


def is_x86():
    return platform.machine().lower() in ("x86_64", "amd64") and sys.maxsize > 2**32


def is_aarch64():
    """Whether this is a 64-bit Arm, all of which have NEON."""
    return platform.machine().lower() in ("aarch64", "arm64")


class BuildExt(build_ext):
    """Compiles every file in a folder of csrc/cpu (a family) once per instruction set, the dispatch and the bindings once."""

    def run(self):
        wanted = wanted_build()
        if wanted == "none":
            self.extensions = []
            print("svconv: SVCONV_BUILD=none, the compiled module svconv._C is left out")
            return
        try:
            super().run()
        except Exception as error:
            if wanted == "cpu":
                raise SystemExit(f"svconv: SVCONV_BUILD=cpu cannot be honoured, missing: {error}") from error
            self.extensions = []
            print(f"svconv: the compiled module svconv._C is left out (the package works without it), missing: {error}")

    def build_extension(self, ext):
        headers = pybind11_headers()
        self.command = self.find_compiler()
        flags, openmp = self.common_flags()
        common = [*flags, *openmp, "-fPIC", "-Icsrc", *self.extra_flags()]
        levels = wanted_levels()
        shared = [f"-I{headers}", *(f"-I{folder}" for folder in self.python_folders()),
                  f'-DSVCONV_FLAGS="{" ".join([*flags, *openmp])}"',
                  f"-DSVCONV_LEVELS(LEVEL)={' '.join(f'LEVEL({level}, {features(flags)})' for level, flags in levels.items())}"]
        temporary = Path(self.build_temp) / "svconv"
        jobs = []
        for source in map(Path, ext.sources):
            place = source.relative_to("csrc").with_suffix(".o")  # files of one name in two folders stay apart
            if place.parts[0] == "cpu" and len(place.parts) > 2:
                for level, flags in levels.items():
                    jobs.append((source, temporary / level / place, [*common, *flags, f"-DSVCONV_ISA={level}"]))
            else:
                jobs.append((source, temporary / place, [*common, *shared]))
        with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", 2))) as pool:
            objects = list(pool.map(lambda job: self.compile_object(*job), jobs))
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        link = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        self.execute([*self.command, *link, *self.extra_flags("LDFLAGS"), *map(str, objects), *openmp, "-o", str(partial)])
        os.replace(partial, target)

    def common_flags(self):
        """Flags of every object, and those for OpenMP. Clang on Linux would bring a second runtime, libomp, beside the libgomp of torch."""
        clang = self.compiles("#ifndef __clang__\n#error\n#endif\nint main() {}", [])
        flags = FLAGS if clang else [*FLAGS, *GCC_FLAGS]
        if clang and sys.platform.startswith("linux"):
            print("svconv: built by Clang without OpenMP (its runtime would stand beside torch's libgomp): the kernels run in one thread")
            return flags, []
        openmp = self.compiles("#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }", ["-fopenmp"])
        return flags, ["-fopenmp"] if openmp else []

    def find_compiler(self):
        names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
        for name in names:
            command = name.split()
            if shutil.which(command[0]):
                self.command = command
                if not self.compiles("#include <concepts>\nint main() {}", ["-std=c++20"]):
                    raise MissingPiece(f"C++20 (the compiler {name} does not compile a small program with -std=c++20)")
                return command
        raise MissingPiece(f"a C++ compiler (GCC or Clang; looked for {', '.join(names)})")

    def compiles(self, program, flags):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.cpp"
            source.write_text(program + "\n")
            result = subprocess.run([*self.command, *flags, str(source), "-o", str(Path(folder) / "probe")], capture_output=True)
        return result.returncode == 0

    def compile_object(self, source, target, flags):
        """Compiles unless the object is newer than everything it was made of and was made by the same command."""
        command = [*self.command, *flags, "-c", str(source)]
        record, made_of = target.with_suffix(".command"), target.with_suffix(".d")
        if not self.force and target.is_file() and record.is_file() and made_of.is_file():
            files = made_of.read_text().replace("\\\n", " ").split(":", 1)[1].split()
            fresh = all((ROOT / name).is_file() and (ROOT / name).stat().st_mtime < target.stat().st_mtime for name in files)
            if fresh and record.read_text() == " ".join(command):
                return target
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        self.execute([*command, "-MMD", "-MF", str(made_of), "-MT", "object", "-o", str(partial)])
        os.replace(partial, target)
        record.write_text(" ".join(command))
        return target

    def execute(self, command):
        print(" ".join(command), flush=True)
        result = subprocess.run(command, cwd=ROOT)
        if result.returncode:
            raise MissingPiece(f"a working compilation ({command[0]} ended with status {result.returncode}, see above)")

    def extra_flags(self, variable="CXXFLAGS"):
        return os.environ.get(variable, "").split()

    def python_folders(self):
        from sysconfig import get_path
        return dict.fromkeys([get_path("include"), get_path("platinclude")])


class BuildPy(build_py):
    """Of the folder bench/ only what the package's own command needs."""

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if package != "svconv._bench" or module[1] in BENCH]


def layout():
    """Packages, where their files are, and the data they carry."""
    packages = find_packages(include=["svconv", "svconv.*"])
    folders = {"svconv._triton": "triton_kernels"}
    data = {"svconv": ["py.typed", "cli/data/*", "models/weights/*.pt", "backends/measured/*.json"]}
    packages += [name for name in ("svconv._triton", "svconv._bench") if name not in packages]
    for part in ("", ".cases", ".peers"):       # what `svconv bench` runs; BuildPy leaves out the programs beside it
        folders[f"svconv._bench{part}"] = f"bench{part.replace('.', '/')}"
    packages += ["svconv._bench.cases", "svconv._bench.peers"]
    # The CUDA sources are compiled at run time; their relative includes stay valid under svconv/_csrc.
    for part in ("core", "cuda"):
        if (ROOT / "csrc" / part).is_dir():
            packages.append(f"svconv._csrc.{part}")
            folders[f"svconv._csrc.{part}"] = f"csrc/{part}"
            data[f"svconv._csrc.{part}"] = ["*.h", "**/*.cuh"]
    return dict(packages=packages, package_dir=folders, package_data=data)


def extension():
    parts = [ROOT / "csrc" / part for part in ("core", "cpu", "bindings")]
    relative = [[str(path.relative_to(ROOT)) for part in parts for path in sorted(part.rglob(pattern))] for pattern in ("*.cpp", "*.h")]
    return Extension("svconv._C", sources=relative[0], depends=relative[1], language="c++", optional=wanted_build() != "cpu")


setup(
    **layout(),
    ext_modules=[] if wanted_build() == "none" else [extension()],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
)
