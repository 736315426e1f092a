"""Flow matching: learn the velocity of straight paths from noise to data, then follow it.

A point on the way is x_t = (1 - t) noise + t data, with t from 0 to 1, and its velocity data - noise. A network that
predicts the mean velocity at (x_t, t) turns noise into samples of the data, by an ordinary differential equation.
Source: Lipman et al., "Flow Matching for Generative Modeling", arXiv:2210.02747; Liu et al., arXiv:2209.03003.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Points (N, …), times (N,) and classes (N,) to velocities (N, …)."""
Field = Callable[[Tensor, Tensor], Tensor]
"""Points (N, …) and times (N,) to velocities (N, …)."""


def flow_loss(velocity: Velocity, data: Tensor, noise: Tensor, time: Tensor, classes: Tensor) -> Tensor:
    """Squared error of the predicted velocities, a mean for each example: (N,), float32.

    data, noise: (N, …); time: (N,) in 0..1; classes: (N,).
    """
    shaped = time.view(-1, *[1] * (data.ndim - 1)).to(data.dtype)
    point = torch.lerp(noise, data, shaped)
    error = velocity(point, time, classes).float() - (data - noise).float()
    return error.square().flatten(1).mean(1)


def draw_times(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Times of training examples, (N,): logistic of a standard normal, which has more of the middle, where velocities are
    hardest to tell (Esser et al., arXiv:2403.03206)."""
    return torch.randn(count, generator=generator).sigmoid()


def guide(velocity: Velocity, classes: Tensor, any_class: int, guidance: float) -> Field:
    """The field that classifier-free guidance follows: `guidance` times as far from the velocity of any class as the velocity
    of the class is (Ho & Salimans, arXiv:2207.12598). 1 is the plain field of the class, 0 that of any class."""
    hidden = torch.full_like(classes, any_class)
    if guidance == 1:
        return lambda point, time: velocity(point, time, classes)
    if guidance == 0:
        return lambda point, time: velocity(point, time, hidden)

    def field(point: Tensor, time: Tensor) -> Tensor:
        both = velocity(torch.cat([point, point]), torch.cat([time, time]), torch.cat([classes, hidden]))
        its, plain = both.chunk(2)
        return torch.lerp(plain, its, guidance)

    return field


def integrate(field: Field, start: Tensor, steps: int) -> Iterator[Tensor]:
    """Follow a field from time 0 to 1 by the method of Heun: yields the start and the point after each step, all (N, …).

    The last step is one of Euler, because at time 1 there is no noise left to tell a velocity from.
    """
    point, count = start, len(start)
    yield point
    for step in range(steps):
        now, later = step / steps, (step + 1) / steps
        slope = field(point, torch.full((count,), now, device=start.device))
        guess = point + slope / steps
        if step + 1 < steps:
            slope = (slope + field(guess, torch.full((count,), later, device=start.device))) / 2
            guess = point + slope / steps
        point = guess
        yield point
