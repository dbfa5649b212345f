"""Imports run downwards only: `python .ci/layers.py [FOLDER]` names every import of a layer that stands beside or above its own.

Module-level imports, imports inside functions and names taken from `svconv` itself (`svconv.solvers`, `from svconv import Conv`)
count alike.
"""
import ast
import sys
from pathlib import Path

# From the bottom up; the packages of one line do not import each other. A private helper svconv/_name.py is "helpers".
LAYERS = (
    ("helpers",),
    ("files", "reference", "_C", "_triton"),
    ("backends",),
    ("ops",),
    ("operators",),
    ("solvers",),
    ("nn", "data", "interop"),
    ("models",),
    ("training",),
    ("_bench",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def layer_of(path, root):
    """The layer that a file belongs to; None for svconv/__init__.py and svconv/__main__.py, which show all of them."""
    parts = path.relative_to(root).parts
    if parts[0] == "triton_kernels":
        return "_triton"
    if len(parts) > 2:
        return parts[1]
    return None if parts[1] in ("__init__.py", "__main__.py") else "helpers"


def members(root, package):
    """The names that a package says it makes public."""
    source = root / "svconv" / package / "__init__.py"
    if not source.is_file():
        return set()
    return {alias.asname or alias.name for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)
            for alias in node.names}


class Imports(ast.NodeVisitor):
    """Every (line, layer) that a module uses."""

    def __init__(self, root):
        self.found = []
        self.public = {"use_backend": "backends"} | {name: package for package in ("operators", "ops") for name in members(root, package)}

    def add(self, node, name):
        """name: what follows `svconv.`"""
        first = name.split(".")[0]
        if first in RANK:
            self.found.append((node.lineno, first))
        elif first in self.public:
            self.found.append((node.lineno, self.public[first]))
        elif first.startswith("_") and not first.startswith("__"):
            self.found.append((node.lineno, "helpers"))

    def visit_Import(self, node):
        for alias in node.names:
            if alias.name.startswith("svconv."):
                self.add(node, alias.name.removeprefix("svconv."))

    def visit_ImportFrom(self, node):
        if node.level:
            self.found.append((node.lineno, "." * node.level + (node.module or "")))
        elif node.module == "svconv":
            for alias in node.names:
                self.add(node, alias.name)
        elif node.module and node.module.startswith("svconv."):
            self.add(node, node.module.removeprefix("svconv."))

    def visit_Attribute(self, node):
        if isinstance(node.value, ast.Name) and node.value.id == "svconv":
            self.add(node, node.attr)
        self.generic_visit(node)


def violations(root):
    """Lines of text."""
    lines = []
    for path in sorted([*root.glob("svconv/**/*.py"), *root.glob("triton_kernels/**/*.py")]):
        own, name = layer_of(path, root), path.relative_to(root).as_posix()
        if own is None:
            continue
        if own not in RANK:
            lines.append(f"{name}: the layer {own} is not in the table of .ci/layers.py")
            continue
        imports = Imports(root)
        imports.visit(ast.parse(path.read_text()))
        for line, other in imports.found:
            if other == own or RANK.get(other, len(LAYERS)) < RANK[own]:
                continue
            where = "which is not in the table" if other not in RANK else "which stands beside it" if RANK[other] == RANK[own] else \
                "which stands above it"
            lines.append(f"{name}:{line}: {own} imports {other}, {where}")
    return lines


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
    found = violations(root)
    sys.stdout.writelines(f"{line}\n" for line in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
