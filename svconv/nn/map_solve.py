"""The MAP step with per-pixel filters as a layer."""
from torch import nn

from svconv._shapes import number
from svconv.solvers import map_filters


class MAPSolve(nn.Module):
    """`svconv.solvers.map_filters` as a layer between the network that makes the filters and the loss.

    Args:
        tol, max_iter: relative residual at which conjugate gradients stop, and their most steps.
        implicit: gradients by one adjoint solve, memory independent of the steps; False: through every step.

    forward(y, kernel, data_filters, prior_filters, *, data_weights=None, prior_weights=None, x0=None, mask=None, details=False) -> the
    restored image [B, C, H, W], with details=True the whole `MAPResult`; arguments as in `svconv.solvers.map_filters`. No parameters.

    >>> import torch, svconv
    >>> predict, solve = svconv.nn.FilterPredictor(3, filters=5, size=5), svconv.nn.MAPSolve(max_iter=10)
    >>> y, kernel = torch.rand(1, 3, 16, 16), torch.full((1, 3, 3), 1 / 9)
    >>> solve(y, kernel, None, predict(y)).shape
    torch.Size([1, 3, 16, 16])
    """

    def __init__(self, tol=1e-4, max_iter=30, *, implicit=True):
        super().__init__()
        self.tol, self.max_iter = number("tol", tol, least=0), number("max_iter", max_iter, least=0, integer=True)
        self.implicit = bool(implicit)

    def forward(self, y, kernel, data_filters, prior_filters, *, data_weights=None, prior_weights=None, x0=None, mask=None, details=False):
        found = map_filters(y, kernel, data_filters, prior_filters, data_weights=data_weights, prior_weights=prior_weights, x0=x0,
                            mask=mask, tol=self.tol, max_iter=self.max_iter, implicit=self.implicit)
        return found if details else found.x

    def extra_repr(self):
        return f"tol={self.tol:g}, max_iter={self.max_iter}" + ("" if self.implicit else ", implicit=False")
