"""Rectified flow against closed forms: with the exact mean of the data given x_t, Euler's method must find the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from vidbench.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

from vidbench.worldmodel import flow  # noqa: E402
from vidbench.worldmodel.config import DiTConfig  # noqa: E402
from vidbench.worldmodel.dit import DiT  # noqa: E402
from vidbench.worldmodel.flow import Times  # noqa: E402

MEAN, DEVIATION = 1.5, 0.4


def _gaussian(mean: float = MEAN, deviation: float = DEVIATION):
    """E[clip | x_t] for clips that are normal: a regression on x_t, whose variance is (1-t)^2 + t^2 s^2."""

    def predict(x_t, t):
        t = flow.along(t, x_t)
        variance = (1 - t) ** 2 + (t * deviation) ** 2
        return mean + t * deviation**2 / variance * (x_t - t * mean)

    return predict


def _mixture(weights, means, deviations):
    """E[clip | x_t] for a mixture of normals."""

    def predict(x_t, t):
        t = flow.along(t, x_t)
        total, evidence = 0.0, 0.0
        for w, m, s in zip(weights, means, deviations, strict=True):
            variance = (1 - t) ** 2 + (t * s) ** 2
            likelihood = w * torch.exp(-((x_t - t * m) ** 2) / (2 * variance)) / variance.sqrt()
            total = total + likelihood * (m + t * s**2 / variance * (x_t - t * m))
            evidence = evidence + likelihood
        return total / evidence

    return predict


def _noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_zero_is_noise_and_one_is_the_clip() -> None:
    clips, noise = _noise(2, 3, 4, 2, 2), _noise(2, 3, 4, 2, 2) + 5
    assert torch.equal(flow.noised(clips, noise, torch.zeros(2)), noise)
    assert torch.equal(flow.noised(clips, noise, torch.ones(2)), clips)
    each = torch.tensor([[0.0, 1.0, 0.5, 0.25]] * 2, dtype=torch.float64)
    x_t = flow.noised(clips, noise, each)
    torch.testing.assert_close(x_t[:, :, 2], (clips + noise)[:, :, 2] / 2)
    torch.testing.assert_close(x_t[:, :, 3], 0.75 * noise[:, :, 3] + 0.25 * clips[:, :, 3])
    halves = flow.noised(clips, noise, torch.tensor([[0.0, 1.0]] * 2))  # a time for each patch of two frames
    assert torch.equal(halves, torch.cat((noise[:, :, :2], clips[:, :, 2:]), 2))


@pytest.mark.parametrize("shape", [(3,), (3, 4)])
def test_clips_and_velocities_are_two_words_for_the_same(shape) -> None:
    clips, noise = _noise(3, 2, 4, 2, 2), _noise(3, 2, 4, 2, 2).flip(0) - 1
    t = torch.rand(shape, dtype=torch.float64) * 0.99
    x_t = flow.noised(clips, noise, t)
    torch.testing.assert_close(flow.velocity_of(clips, x_t, t), clips - noise, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(flow.clips_of(clips - noise, x_t, t), clips, atol=1e-9, rtol=1e-9)
    guess = _noise(3, 2, 4, 2, 2)
    torch.testing.assert_close(flow.clips_of(flow.velocity_of(guess, x_t, t), x_t, t), guess, atol=1e-9, rtol=1e-9)


def test_velocity_is_the_derivative_of_the_line() -> None:
    clips, noise = _noise(1, 1, 1, 2, 2), _noise(1, 1, 1, 2, 2) + 1
    ahead, back = (flow.noised(clips, noise, torch.tensor([at], dtype=torch.float64)) for at in (0.5001, 0.4999))
    torch.testing.assert_close((ahead - back) / 2e-4, clips - noise, atol=1e-9, rtol=1e-9)


def test_euler_converges_to_the_exact_map_of_a_gaussian() -> None:
    """Noise e is carried to mean + deviation e; the error of Euler's method halves with the step."""
    noise = _noise(500, 1, 1, 1, 1)
    errors = [
        float((flow.sample(_gaussian(), noise, steps) - (MEAN + DEVIATION * noise)).abs().max())
        for steps in (64, 128, 256)
    ]
    assert errors[2] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


def test_one_step_gives_the_mean() -> None:
    """From pure noise nothing but the mean of the data can be said."""
    torch.testing.assert_close(
        flow.sample(_gaussian(), _noise(20, 1, 1, 1, 1), 1), torch.full((20, 1, 1, 1, 1), MEAN).double()
    )


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_samples_are_the_same_by_clips_and_by_velocities(steps) -> None:
    noise = _noise(50, 2, 3, 1, 1)
    by_velocity = flow.sample(lambda x, t: flow.velocity_of(_gaussian()(x, t), x, t), noise, steps, predicts="v")
    torch.testing.assert_close(by_velocity, flow.sample(_gaussian(), noise, steps), atol=1e-9, rtol=1e-9)


def test_euler_finds_a_mixture_in_the_exact_order() -> None:
    """In one dimension the flow keeps order: the noise at quantile u is carried to the data's quantile u."""
    weights, means, deviations = (0.3, 0.7), (-2.0, 1.0), (0.3, 0.5)
    quantiles = np.linspace(0.02, 0.98, 49)

    def at(u):
        return optimize.brentq(
            lambda x: sum(w * stats.norm.cdf(x, m, s) for w, m, s in zip(weights, means, deviations, strict=True)) - u,
            -9,
            9,
        )

    noise = torch.tensor(stats.norm.ppf(quantiles)).reshape(-1, 1, 1, 1, 1)
    found = flow.sample(_mixture(weights, means, deviations), noise, 1000).flatten().numpy()
    exact = np.array([at(u) for u in quantiles])
    away = np.abs(quantiles - 0.3) > 0.03  # between the modes, where the map is steep, Euler is slow
    assert np.abs(found - exact)[away].max() < 0.02


def test_guidance_of_gaussians() -> None:
    """At scale w the mean that a step aims at lies w times as far from the unconditional one."""
    said, unsaid = _gaussian(2.0, 0.5), _gaussian(0.5, 0.5)
    noise = _noise(10, 1, 1, 1, 1)
    for scale, wanted in ((0.0, 0.5), (1.0, 2.0), (3.0, 5.0)):
        aimed = flow.sample(flow.guided(said, unsaid, scale), noise, 1)
        torch.testing.assert_close(aimed, torch.full_like(aimed, wanted))
    assert flow.guided(said, unsaid, 1) is said


def test_uneven_times_and_the_moments_the_network_is_asked_at() -> None:
    asked = []

    def predict(x_t, t):
        asked.append(t.tolist())
        return _gaussian()(x_t, t)

    flow.sample(predict, _noise(2, 1, 1, 1, 1), [0, 0.1, 0.5, 1])
    assert asked == [pytest.approx([at, at]) for at in (0, 0.1, 0.5)]


@pytest.mark.parametrize("times", [0, -1, [0.0], [0.1, 1.0], [0.0, 0.9], [0.0, 0.5, 0.5, 1.0], [0.0, 0.7, 0.2, 1.0]])
def test_times_that_do_not_rise_from_0_to_1_are_refused(times) -> None:
    with pytest.raises(InputError, match=r"from 0 to 1|at least one step"):
        flow.sample(_gaussian(), _noise(1, 1, 1, 1, 1), times)


def test_a_prediction_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="'x' or 'v', not 'eps'"):
        flow.sample(_gaussian(), _noise(1, 1, 1, 1, 1), 1, predicts="eps")


def test_clean_frames_go_ahead_at_time_one() -> None:
    seen = []

    def predict(x_t, t):
        seen.append((x_t, t))
        return x_t + 1

    past, noise = torch.full((2, 3, 4, 1, 1), 7.0), torch.randn(2, 3, 2, 1, 1)
    said = flow.sample(flow.given_past(predict, past), noise, 1)
    assert torch.equal(said, noise + 1)
    assert torch.equal(seen[0][0], torch.cat((past, noise), 2))
    assert seen[0][1].tolist() == [[1, 1, 1, 1, 0, 0]] * 2


def test_times_are_a_mixture() -> None:
    t = Times(at_noise=0.35, mean=-0.5, deviation=1.0).draw(200, 100, generator=torch.Generator().manual_seed(0))
    assert t.shape == (200, 100)
    assert t.max() < 1
    assert float((t == 0).double().mean()) == pytest.approx(0.35, abs=0.014)  # four standard deviations
    logits = torch.logit(t[t > 0].double()).numpy()
    assert stats.kstest(logits, "norm", args=(-0.5, 1.0)).pvalue > 1e-3
    again = Times().draw(200, 100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(t, again)
    with pytest.raises(InputError, match="share at noise from 0 to 1"):
        Times(at_noise=1.2)


def test_the_loss_of_the_best_predictor_is_the_variance_that_is_left() -> None:
    """Var[clip | x_t] = s^2 (1-t)^2 / ((1-t)^2 + t^2 s^2), and no other predictor has less."""
    n = 40_000
    clips, noise = (
        MEAN + DEVIATION * _noise(n, 1, 1, 1, 1),
        torch.randn(n, 1, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(9)),
    )
    for at in (0.0, 0.4, 0.8):
        t = torch.full((n,), at, dtype=torch.float64)
        x_t = flow.noised(clips, noise, t)
        left = DEVIATION**2 * (1 - at) ** 2 / ((1 - at) ** 2 + (at * DEVIATION) ** 2)
        best = flow.loss(_gaussian()(x_t, t), clips, noise, t)
        assert best.shape == (n, 1)
        assert float(best.mean()) == pytest.approx(left, rel=0.03)
        worse = flow.loss(_gaussian(MEAN + 0.1)(x_t, t), clips, noise, t)
        assert worse.mean() > best.mean()


def test_losses_of_clips_and_velocities_agree_by_their_weight() -> None:
    clips, noise, guess = (_noise(2, 3, 4, 2, 2) + i for i in range(3))
    t = torch.tensor([[0.0, 0.3, 0.6, 0.9]] * 2, dtype=torch.float64)
    x_t = flow.noised(clips, noise, t)
    by_velocity = flow.loss(flow.velocity_of(guess, x_t, t), clips, noise, t, predicts="v")
    torch.testing.assert_close(flow.loss(guess, clips, noise, t, most_weight=math.inf), by_velocity)
    plain = flow.loss(guess, clips, noise, t)
    torch.testing.assert_close(flow.loss(guess, clips, noise, t, most_weight=4.0)[:, 2:], 4 * plain[:, 2:])
    torch.testing.assert_close(plain, (guess - clips).square().mean((1, 3, 4)))


def test_weights_of_pixels() -> None:
    clips = torch.zeros(1, 1, 2, 2, 2)
    guess = torch.ones_like(clips)
    weights = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    assert flow.loss(guess, clips, clips, torch.zeros(1), weights=weights).tolist() == [[1.5, 1.5]]


def test_losses_by_time() -> None:
    losses = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    bins = flow.loss_by_time(losses, torch.tensor([[0.0, 0.05], [0.5, 1.0]]), bins=4)
    assert [(b.low, b.high, b.count, b.mean) for b in bins] == [
        (0.0, 0.25, 2, 2.0),
        (0.25, 0.5, 0, None),
        (0.5, 0.75, 1, 5.0),
        (0.75, 1.0, 1, 7.0),
    ]
    whole = flow.loss_by_time(losses, torch.tensor([0.1, 0.9]), bins=2)
    assert [b.mean for b in whole] == [2.0, 6.0]


def test_a_tiny_network_learns_two_clips_by_heart_and_samples_them() -> None:
    """Trained on two clips under two labels, one step from noise gives the one that is asked for."""
    torch.manual_seed(0)
    clips = torch.rand(2, 1, 1, 8, 8).repeat(1, 1, 2, 1, 1)  # stills: the network is not told which frame it is at
    network = DiT(DiTConfig(channels=1, patch=(1, 4, 4), width=24, depth=2, heads=2, classes=2, attention="divided"))
    from vidbench.worldmodel.conditions import Conditions
    from vidbench.worldmodel.optimiser import Optimiser, OptimiserConfig

    label = torch.tensor([0, 1] * 4)
    optimiser = Optimiser(network, OptimiserConfig(steps=150, warmup=10, adamw_rate=5e-3))
    generator = torch.Generator().manual_seed(1)
    for _ in range(150):
        noise = torch.randn(8, 1, 2, 8, 8, generator=generator)
        t = Times().draw(8, generator=generator)
        wanted = clips.repeat(4, 1, 1, 1, 1)
        said = network(flow.noised(wanted, noise, t), t, Conditions(label=label)).frames
        flow.loss(said, wanted, noise, t).mean().backward()
        optimiser.step()
    with torch.no_grad():
        samples = flow.sample(
            lambda x, t: network(x, t, Conditions(label=torch.tensor([1, 0]))).frames, torch.randn(2, 1, 2, 8, 8), 2
        )
    error = (samples - clips.flip(0)).square().mean().sqrt()
    assert error < 0.05
    assert (samples - clips).square().mean().sqrt() > 0.3
