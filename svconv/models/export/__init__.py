"""Models as programs of their own: `torch.export`, AOTInductor."""
from svconv.models.export.compiled import check_compiler
from svconv.models.export.export import Exported, export

__all__ = ["Exported", "check_compiler", "export"]
