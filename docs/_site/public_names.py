"""The public names of svconv, read from its sources: nothing is imported, so that the site can be built where torch is not installed."""
import ast
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FLAT = ("ops", "operators")  # their names are names of svconv itself
NAMED = ("solvers", "nn", "models", "data", "files")
BY_MODULE = {"interop": None, "training": ("loop", "task", "settings", "checkpoint", "metrics", "distributed")}  # None: every module


class Name(NamedTuple):
    """A public name: as users write it, the object that stands behind it, and the module of that object."""

    public: str
    path: str
    module: str


def imported(package, root=ROOT):
    """{name: module} of what the package's __init__.py takes from its modules."""
    tree = ast.parse((root / "svconv" / package / "__init__.py").read_text())
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("svconv."):
            found |= {alias.asname or alias.name: node.module for alias in node.names}
    return found


def exported(package, root=ROOT):
    """The strings of the package's `__all__`, or None where it is computed."""
    for node in ast.parse((root / "svconv" / package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value) if isinstance(node.value, ast.List) else None
    return None


def names(package, root=ROOT):
    """The public names of a package, in the order in which it imports them; results stand after what returns them."""
    listed = exported(package, root)
    prefix = "svconv" if package in FLAT else f"svconv.{package}"
    found = [Name(f"{prefix}.{name}", f"{module}.{name}", module) for name, module in imported(package, root).items()
             if not name.startswith("_") and name != "EXAMPLES" and (listed is None or name in listed)]
    return sorted(found, key=lambda name: name.public.endswith("Result"))


def modules(package, root=ROOT):
    """The public modules of a package that is documented by module."""
    chosen = BY_MODULE[package]
    return [path.stem for path in sorted((root / "svconv" / package).glob("[a-z]*")) if path.suffix in ("", ".py")] if chosen is None \
        else list(chosen)


def everything(root=ROOT):
    """{public name: the object behind it} of all packages."""
    found = {name.public: name.path for package in (*FLAT, *NAMED) for name in names(package, root)}
    found["svconv.use_backend"] = "svconv.backends.use_backend"
    found |= {f"svconv.{package}.{module}": f"svconv.{package}.{module}" for package in BY_MODULE for module in modules(package, root)}
    return found
