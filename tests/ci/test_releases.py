"""What a release is made of agrees with itself: the version, the Pythons, the workflow."""
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
if not (ROOT / "pyproject.toml").is_file() or not (ROOT / ".github").is_dir():
    pytest.skip("needs the checkout", allow_module_level=True)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOW = (ROOT / ".github" / "workflows" / "release.yml").read_text()


def test_wheels_are_built_from_the_oldest_python_on():
    builds = [int(re.match(r"cp3(\d+)-manylinux_\*$", name)[1]) for name in PROJECT["tool"]["cibuildwheel"]["build"]]
    oldest = int(re.search(r">=3\.(\d+)", PROJECT["project"]["requires-python"])[1])
    assert builds == list(range(oldest, builds[-1] + 1)) and builds[-1] >= 14
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py3{oldest}" and PROJECT["tool"]["mypy"]["python_version"] == f"3.{oldest}"


def test_the_version_stands_in_one_place_and_the_workflow_reads_it_there():
    import svconv

    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "svconv.__version__"}
    line = f'__version__ = "{svconv.__version__}"'
    assert line in (ROOT / "svconv" / "__init__.py").read_text().splitlines()
    assert "svconv/__init__.py" in WORKFLOW and r'__version__ = \"${GITHUB_REF_NAME#v}\"' in WORKFLOW
    assert f"version = {{{svconv.__version__}}}" in (ROOT / "README.md").read_text()


def test_the_workflow_builds_both_processors_and_every_job_that_another_needs():
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load(WORKFLOW)["jobs"]
    assert set(jobs["wheels"]["strategy"]["matrix"]["runner"]) == {"ubuntu-24.04", "ubuntu-24.04-arm"}
    needed = {name for job in jobs.values() for name in ([job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", []))}
    assert needed <= set(jobs)
    uploads = {step["with"]["name"] for job in jobs.values() for step in job["steps"] if "upload-artifact" in step.get("uses", "")}
    assert uploads == {"sdist", "wheels-${{ matrix.runner }}"}
    assert "id-token" in jobs["publish"]["permissions"] and "refs/tags/v" in jobs["publish"]["if"]
