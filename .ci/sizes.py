"""One subject per file: `python .ci/sizes.py [FOLDER]` names source files above 400 lines and files named after nothing."""
import re
import subprocess
import sys
from pathlib import Path

LIMIT = 400
SOURCE = {".py", ".h", ".cpp", ".cuh", ".cu", ".sh"}
NAMED_AFTER_NOTHING = re.compile(r"(.*_([a-z]|\d+|more)|utils?|misc)")      # x_a.py, x_2.py, x_more.py, utils.py, misc.h


def tracked(root):
    """The files of a checkout; in a folder that is no checkout, every file."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True, check=False)
    if listed.returncode:
        return sorted(path for path in root.rglob("*") if path.is_file())
    return [root / name for name in sorted(set(filter(None, listed.stdout.split("\0")))) if (root / name).is_file()]


def findings(root):
    lines = []
    for path in tracked(root):
        name = path.relative_to(root).as_posix()
        if path.suffix in SOURCE and (count := len(path.read_text().splitlines())) > LIMIT:
            lines.append(f"{name}: {count} lines, at most {LIMIT} are wanted: split it by subject")
        if NAMED_AFTER_NOTHING.fullmatch(path.name.split(".")[0]):
            lines.append(f"{name}: name it after its subject")
    return lines


def main():
    found = findings(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]))
    sys.stdout.writelines(f"{line}\n" for line in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
