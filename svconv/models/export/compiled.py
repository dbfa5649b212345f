"""Programs compiled by AOTInductor: machine code for the processor of this machine, in a package of torch."""
import io

import torch

NAME = "svconv.json"        # of the description, in either kind of file
OPTIONS = {"cpp.dynamic_threads": True,                 # of the process that runs the package, not of the one that compiles it
           "aot_inductor.check_lowerbound": False}      # which takes a batch of 1 for too small


def check_compiler():
    """RuntimeError unless there is a C++ compiler that Inductor would call."""
    from torch._inductor import exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except (exc.InvalidCxxCompiler, OSError) as error:
        raise RuntimeError("aot: expected a C++ compiler, g++ or clang++ or what CXX names, and none runs here") from error


def archive(exported, description):
    """The package of an exported program, in memory; RuntimeError where compiling fails."""
    from torch._inductor import aoti_compile_and_package

    known = torch._inductor.config.get_config_copy()
    options = {name: value for name, value in OPTIONS.items() if name in known} | {"aot_inductor.metadata": {NAME: description}}
    made = io.BytesIO()
    try:
        aoti_compile_and_package(exported, package_path=made, inductor_configs=options)
    except Exception as error:      # what a compiler says arrives as one of many types
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        found = next((line for line in lines if "error:" in line), lines[0])
        raise RuntimeError(f"aot: AOTInductor failed: {found}") from error
    return made


def load(file):
    """The package in a binary file, as a function of its inputs."""
    return torch._inductor.aoti_load_package(file)
