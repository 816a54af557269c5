"""Muon and AdamW: who trains what, what a step is, the schedule, the moving average."""

from __future__ import annotations

import copy

import pytest

from vidbench.errors import InputError, MissingExtraError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

from vidbench.worldmodel.config import DiTConfig  # noqa: E402
from vidbench.worldmodel.dit import DiT  # noqa: E402
from vidbench.worldmodel.optimiser import MovingAverage, Optimiser, OptimiserConfig, muon_weights  # noqa: E402

CONFIG = DiTConfig(patch=(1, 4, 4), width=24, depth=2, heads=2, actions=3, attention="divided")


def _with_gradients(seed: int = 0):
    torch.manual_seed(seed)
    network = DiT(CONFIG)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    return network


def test_muon_trains_the_matrices_of_the_blocks_and_nothing_else() -> None:
    names = {name for name, _ in muon_weights(DiT(CONFIG))}
    assert "blocks.0.attentions.0.qkv.weight" in names
    assert "blocks.1.attentions.1.out.weight" in names
    assert "blocks.1.mlp.0.weight" in names
    assert len(names) == 2 * (2 * 2 + 2)
    assert not any("modulation" in name or "gain" in name or "bias" in name for name in names)
    assert all(name.startswith("blocks.") for name in names)
    parameters = dict(DiT(CONFIG).named_parameters())
    assert all(parameters[name].ndim == 2 for name in names)


def test_every_weight_is_trained_once() -> None:
    network = _with_gradients()
    before = copy.deepcopy(dict(network.named_parameters()))
    optimiser = Optimiser(network, OptimiserConfig(steps=10, warmup=0, clip=1e9))
    optimiser.step()
    assert all(not torch.equal(p, before[name]) for name, p in network.named_parameters())
    assert all(p.grad is None for p in network.parameters())


def test_a_step_of_muon_is_an_orthogonal_matrix_times_the_rate() -> None:
    """Singular values of the step are within what five Newton-Schulz steps leave, about 0.7 to 1.2; its directions are
    those of the gradient's exact polar factor."""
    network = _with_gradients()
    weight = network.blocks[0].mlp[0].weight  # 96 x 24: the rate grows by sqrt(96 / 24)
    before, gradient = weight.detach().clone(), weight.grad.clone()
    Optimiser(network, OptimiserConfig(steps=10, warmup=0, muon_rate=0.02, clip=1e9)).step()
    step = (before - weight.detach()) / (0.02 * 2)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    assert torch.linalg.svdvals(step).min() > 0.6
    assert torch.linalg.svdvals(step).max() < 1.3
    polar = u @ v
    assert float((step * polar).sum() / (step.norm() * polar.norm())) > 0.98


def test_a_step_of_adamw_is_the_rate_times_the_sign_at_first() -> None:
    network = _with_gradients()
    weight = network.patch_in.weight
    before, gradient = weight.detach().clone(), weight.grad.clone()
    Optimiser(network, OptimiserConfig(steps=10, warmup=0, adamw_rate=0.003, clip=1e9)).step()
    torch.testing.assert_close(before - weight.detach(), 0.003 * gradient.sign(), atol=1e-5, rtol=0)


def test_weights_decay_and_gains_do_not() -> None:
    network = _with_gradients()
    for parameter in network.parameters():
        parameter.grad.zero_()
    before = copy.deepcopy(dict(network.named_parameters()))
    Optimiser(network, OptimiserConfig(steps=10, warmup=0, weight_decay=0.1, muon_rate=0.02, adamw_rate=0.01)).step()
    after = dict(network.named_parameters())
    torch.testing.assert_close(after["blocks.0.mlp.0.weight"], before["blocks.0.mlp.0.weight"] * (1 - 0.002))
    torch.testing.assert_close(after["patch_in.weight"], before["patch_in.weight"] * (1 - 0.001))
    gain = "blocks.0.attentions.0.query_gain"
    assert torch.equal(after[gain], before[gain])


def test_without_muon_adamw_trains_all() -> None:
    network = _with_gradients()
    weight = network.blocks[0].mlp[0].weight
    before, gradient = weight.detach().clone(), weight.grad.clone()
    Optimiser(network, OptimiserConfig(steps=10, warmup=0, muon_rate=0, adamw_rate=0.003, clip=1e9)).step()
    torch.testing.assert_close(before - weight.detach(), 0.003 * gradient.sign(), atol=1e-5, rtol=0)


def test_the_schedule_warms_up_stays_and_falls() -> None:
    config = OptimiserConfig(steps=100, warmup=9, decay=0.4)
    factors = [config.factor(step) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert factors[10:61] == [1.0] * 51
    assert factors[80] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(1 / 40)
    assert min(factors) > 0
    assert config.factor(100) == 0
    assert OptimiserConfig(steps=1, warmup=0, decay=0).factor(0) == 1


def test_gradients_are_clipped_as_one_vector() -> None:
    network = _with_gradients()
    length = float(torch.cat([p.grad.flatten() for p in network.parameters()]).norm())
    assert Optimiser(network, OptimiserConfig(steps=1)).step() == pytest.approx(length, rel=1e-5)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    network = _with_gradients()
    network.patch_in.weight.grad[0, 0] = float("nan")
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(InputError, match="gradient of step 0 is nan: lower the learning rate"):
        Optimiser(network, OptimiserConfig(steps=1)).step()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_training_goes_on_from_a_kept_state() -> None:
    def trained(optimiser, network, steps) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()

    whole, halves = _with_gradients(), _with_gradients()
    config = OptimiserConfig(steps=6, warmup=2)
    trained(Optimiser(whole, config), whole, range(6))
    first = Optimiser(halves, config)
    trained(first, halves, range(3))
    second = Optimiser(halves, config)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    trained(second, halves, range(3, 6))
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), halves.parameters(), strict=True))


def test_an_old_torch_says_what_to_install(monkeypatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(MissingExtraError, match=r"torch 2.9 or newer.*pip install 'vidbench\[worldmodel\]'"):
        Optimiser(DiT(CONFIG), OptimiserConfig(steps=1))
    Optimiser(DiT(CONFIG), OptimiserConfig(steps=1, muon_rate=0))


@pytest.mark.parametrize("change", [{"steps": 0}, {"warmup": -1}, {"adamw_rate": 0}, {"decay": 1.5}, {"clip": 0}])
def test_recipes_that_cannot_be_are_refused(change) -> None:
    with pytest.raises(InputError):
        OptimiserConfig(**{"steps": 10, **change})


def test_the_moving_average_is_the_weighted_sum() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average = MovingAverage(network, decay=0.9)
    expected = 1.0
    for n in range(200):
        with torch.no_grad():
            network.weight.fill_(float(n))
        average.update(network)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    assert float(average.network.weight) == pytest.approx(expected, rel=1e-5)
    assert float(average.network.weight) == pytest.approx(199 - 9, rel=1e-3)  # the lag of a straight line, d / (1 - d)
    assert not average.network.weight.requires_grad
    assert network.weight.tolist() == [[199.0]]
    with pytest.raises(InputError, match="from 0 up to 1"):
        MovingAverage(network, 1.0)
