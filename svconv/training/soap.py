"""Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, "SOAP"): few parameters, expensive gradients, ill-conditioned
losses."""

import torch


class SOAP(torch.optim.Optimizer):
    """Each parameter is seen as a matrix [first dimension, the rest]; averages L of G G' and R of G' G give bases Q_L, Q_R, and Adam runs
    on Q_L' G Q_R.

    The bases follow by one QR iteration every `every` steps. The first step only starts the averages. Meant for small matrices: the
    cost per basis update is cubic in both sides.

    Args:
        params: parameters or groups. lr: learning rate. betas: decays of Adam's two averages. shampoo: decay of L and R. every: steps
        between updates of the bases. eps: added to the root of the second average.
    """

    def __init__(self, params, lr=1e-2, betas=(0.9, 0.98), shampoo=0.95, every=10, eps=1e-8):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), shampoo=shampoo, every=every, eps=eps))

    @torch.no_grad()
    def step(self, closure=None):
        """One update from the gradients; parameters without a gradient are left alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad.reshape(p.shape[0], -1) if p.dim() > 1 else p.grad.reshape(1, -1), group)
        return loss

    def _update(self, p, g, group):
        state = self.state[p]
        if not state:
            left, right = g @ g.T, g.T @ g
            state.update(step=0, mean=torch.zeros_like(g), square=torch.zeros_like(g), left=left, right=right,
                         left_basis=torch.linalg.eigh(left)[1], right_basis=torch.linalg.eigh(right)[1])
            return
        state["step"] += 1
        t, (b1, b2) = state["step"], group["betas"]
        ql, qr = state["left_basis"], state["right_basis"]
        state["mean"].lerp_(g, 1 - b1)
        turned = ql.T @ g @ qr
        state["square"].lerp_(turned * turned, 1 - b2)
        root = (state["square"] / (1 - b2**t)).sqrt_().add_(group["eps"])
        direction = (ql.T @ state["mean"] @ qr) / (1 - b1**t) / root
        p.add_((ql @ direction @ qr.T).view_as(p), alpha=-group["lr"])
        state["left"].lerp_(g @ g.T, 1 - group["shampoo"])
        state["right"].lerp_(g.T @ g, 1 - group["shampoo"])
        if t % group["every"] == 0 or t in (1, 2, 5):
            state["left_basis"] = torch.linalg.qr(state["left"] @ ql)[0]
            state["right_basis"] = torch.linalg.qr(state["right"] @ qr)[0]
