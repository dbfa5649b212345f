"""SOAP: finds the minimum of an ill-conditioned matrix problem faster than Adam, resumes bit for bit."""
import torch

from svconv.training.soap import SOAP


def problem():
    g = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=g))[0] for n in (6, 5))
    a, b = left @ torch.diag(torch.logspace(0, -2, 6)) @ left.T, right @ torch.diag(torch.logspace(0, -2, 5)) @ right.T
    target = torch.randn(6, 5, generator=g)
    return lambda w: (a @ (w - target) @ b).square().sum()


def minimise(make, steps=300):
    loss, w, bias = problem(), torch.zeros(6, 5, requires_grad=True), torch.zeros((), requires_grad=True)
    optimiser = make([w, bias])
    for _ in range(steps):
        optimiser.zero_grad()
        (loss(w) + (bias - 1) ** 2).backward()
        optimiser.step()
    return float(loss(w).detach()), float(bias.detach())


def test_it_beats_adam_on_an_ill_conditioned_problem():
    soap, bias = minimise(lambda p: SOAP(p, lr=0.02))
    adam, _ = minimise(lambda p: torch.optim.Adam(p, lr=0.02))
    assert soap < 0.5 * adam and abs(bias - 1) < 0.1


def test_its_state_resumes():
    loss = problem()

    def steps(w, optimiser, n):
        for _ in range(n):
            optimiser.zero_grad()
            loss(w).backward()
            optimiser.step()

    w = torch.zeros(6, 5, requires_grad=True)
    steps(w, first := SOAP([w], lr=0.02), 17)
    v = w.detach().clone().requires_grad_(True)
    second = SOAP([v], lr=0.02)
    second.load_state_dict(first.state_dict())
    second.load_state_dict(dict(second.state_dict().items()))
    state = torch.utils._pytree.tree_map(lambda t: t.clone() if torch.is_tensor(t) else t, first.state_dict())
    second.load_state_dict(state)
    steps(w, first, 20)
    steps(v, second, 20)
    assert torch.equal(w, v)
