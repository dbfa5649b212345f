"""In a checkout what measures stands in `bench/` at the top level; an installed package has the part that `svconv bench` needs here."""
from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[2] / "bench")]
