"""HingeLoss and FeatureMatchingLoss: the formulas, several discriminators, gradients, bad input."""
import numpy as np
import pytest
import torch

from svconv.nn import FeatureMatchingLoss, HingeLoss


def scores(*shape, seed=0, dtype=torch.float64):
    return (2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))).to(dtype)


def test_hinge_is_the_formula():
    real, fake = scores(2, 1, 4, 5), scores(2, 1, 4, 5, seed=1)
    expected = np.maximum(1 - real.numpy(), 0).mean() + np.maximum(1 + fake.numpy(), 0).mean()
    loss = HingeLoss()
    assert float(loss(real, fake)) == float(loss.discriminator(real, fake)) == pytest.approx(expected, rel=1e-12)
    assert float(loss.generator(fake)) == pytest.approx(-fake.numpy().mean(), rel=1e-12)
    assert float(loss(torch.full((3,), 1.5), torch.full((3,), -1.0))) == 0


def test_hinge_averages_discriminators_and_takes_the_last_of_their_maps():
    loss, a, b, c, d = HingeLoss(), scores(1, 1, 4, 4), scores(1, 1, 2, 2, seed=1), scores(1, 1, 4, 4, seed=2), scores(1, 1, 2, 2, seed=3)
    expected = (float(loss(a, c)) + float(loss(b, d))) / 2
    assert float(loss([a, b], [c, d])) == pytest.approx(expected, rel=1e-12)
    assert float(loss([[d, a], [b]], ([c, c], (a, d)))) == pytest.approx(expected, rel=1e-12)
    assert float(loss.generator([[a, c], d])) == pytest.approx(-(float(c.mean()) + float(d.mean())) / 2, rel=1e-12)


def test_hinge_gradients():
    real, fake = scores(2, 1, 3, 3).requires_grad_(), scores(2, 1, 3, 3, seed=1).requires_grad_()
    assert float(torch.stack([1 - real, 1 + fake]).detach().abs().min()) > 1e-3      # none at the hinge
    assert torch.autograd.gradcheck(HingeLoss(), (real, fake)) and torch.autograd.gradcheck(HingeLoss().generator, (fake,))


def maps(seed, dtype=torch.float64):
    return [scores(2, 3, 4, 4, seed=seed, dtype=dtype), scores(2, 5, 2, 3, seed=seed + 1, dtype=dtype)]


def test_feature_matching_is_the_formula():
    real, fake = maps(0), maps(2)
    expected = sum(np.abs(r.numpy() - f.numpy()).mean() for r, f in zip(real, fake))
    loss = FeatureMatchingLoss()
    assert float(loss(real, fake)) == float(loss([real], (tuple(fake),))) == pytest.approx(expected, rel=1e-12)
    assert float(loss([real, fake[:1]], [fake, fake[:1]])) == pytest.approx(expected / 2, rel=1e-12)


def test_feature_matching_gradients_reach_only_what_was_made():
    real, (a, b) = [t.requires_grad_() for t in maps(0)], (t.requires_grad_() for t in maps(2))
    FeatureMatchingLoss()(real, [a, b]).backward()
    assert all(t.grad is None for t in real) and all(float(t.grad.abs().max()) > 0 for t in (a, b))
    assert torch.autograd.gradcheck(lambda p, q: FeatureMatchingLoss()(real, [p, q]), (a, b))


def test_half_types_are_computed_in_float32():
    real, fake = maps(0, torch.bfloat16), maps(2, torch.bfloat16)
    wide = [[t.float() for t in one] for one in (real, fake)]
    for loss in (HingeLoss(), FeatureMatchingLoss()):
        assert loss(real, fake).dtype == torch.float32 and torch.equal(loss(real, fake), loss(*wide))


@pytest.mark.parametrize("real, fake, error, text", [
    ([], [], ValueError, "real: expected at least one tensor"), (torch.ones(2), [[]], ValueError, "fake: expected at least one tensor"),
    (torch.ones(2), [torch.ones(2), torch.ones(2)], ValueError, "fake: expected the scores of 1 discriminators as in real, got 2"),
    (1.0, torch.ones(2), TypeError, "real: expected tensors in a list"),
    ([1.0], torch.ones(2), TypeError, "real: expected tensors in a list"),
    (torch.ones(2), torch.ones(2, dtype=torch.int64), TypeError, "fake: expected dtype"),
])
def test_bad_scores_are_named(real, fake, error, text):
    with pytest.raises(error, match=f"^{text}"):
        HingeLoss()(real, fake)


@pytest.mark.parametrize("real, fake, error, text", [
    ([], [], ValueError, "real: expected at least one tensor"),
    (torch.ones(2), [torch.ones(2)], TypeError, "real: expected tensors in a list"),
    ([torch.ones(2)], [torch.ones(2), torch.ones(2)], ValueError, r"fake: expected \[1\] maps as in real, got \[2\]"),
    ([torch.ones(2)], [torch.ones(3)], ValueError, r"fake\[0\]\[0\]: expected the shape of real\[0\]\[0\]"),
    ([torch.ones(2)], [torch.ones(2).long()], TypeError, "fake: expected dtype"),
])
def test_bad_maps_are_named(real, fake, error, text):
    with pytest.raises(error, match=f"^{text}"):
        FeatureMatchingLoss()(real, fake)
