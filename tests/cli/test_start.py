"""The first second: what only reads the arguments loads neither torch nor numpy; Ctrl-C ends it with one line."""
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

import svconv

PROGRAMS = {"python -m": ["-m", "svconv"], "script": ["-c", "import sys; from svconv.cli import main; sys.exit(main())"]}
QUICK = {  # arguments: exit status
    "--version": 0,
    "--help": 0,
    "train ltd --help": 0,
    "": 2,
    "dance": 2,
    "info --fast": 2,
    "deblur photo.png": 2,
    "train ltd --data in --out out --rate nan": 2,
}
HEAVY = ("torch", "numpy", "scipy", "PIL", "tqdm", "tifffile", "imagecodecs", "triton")
LIMIT = 0.3  # seconds
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT); time.sleep(20)"


def environment(*before):
    path = [*map(str, before), os.path.dirname(os.path.dirname(svconv.__file__)), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def call(program, arguments, *options, **more):
    return subprocess.run([sys.executable, *options, *PROGRAMS[program], *arguments.split()], capture_output=True, text=True, timeout=120,
                          **{"env": environment(), **more})


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("arguments", QUICK)
def test_help_and_usage_errors_load_nothing_heavy(program, arguments):
    done = call(program, arguments, "-X", "importtime")
    assert done.returncode == QUICK[arguments]
    modules = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "svconv.cli.parser" in modules and {m for m in modules if m.split(".")[0] in HEAVY} == set()


@pytest.mark.parametrize("arguments", ["--version", "--help", "info --fast"])
def test_they_take_less_than_three_tenths_of_a_second(arguments):
    """Processor time, the least of five, because other programs may be running."""
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call("python -m", arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < LIMIT


@pytest.fixture
def stub(tmp_path):
    """stub(source): a folder with a package `torch` of that source."""

    def make(source):
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text("import os, signal, time\n" + source)
        return environment(tmp_path)

    return make


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("source", [INTERRUPT, f"try:\n    {INTERRUPT}\nexcept BaseException:\n    raise ImportError('lost') from None"])
def test_an_interrupt_while_torch_loads_is_one_line_and_130(stub, program, source):
    """Also where the import turns the interrupt into another error."""
    done = call(program, "info", env=stub(source))
    assert (done.returncode, done.stderr) == (130, "svconv: interrupted\n")


def test_an_ignored_signal_stays_ignored(stub):
    """As in a script's background job."""
    done = call("python -m", "info", env=stub("os.kill(os.getpid(), signal.SIGINT)\nraise ImportError('reached')"),
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert done.returncode == 1 and "reached" in done.stderr


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("program", PROGRAMS)
def test_an_interrupt_in_the_middle_of_the_true_import(program):
    process = subprocess.Popen([sys.executable, *PROGRAMS[program], "info"], env=environment(), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline, maps = time.monotonic() + 60, f"/proc/{process.pid}/maps"
    while time.monotonic() < deadline and process.poll() is None:
        with open(maps) as file:
            if "libtorch" in file.read():
                break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "svconv: interrupted\n")
