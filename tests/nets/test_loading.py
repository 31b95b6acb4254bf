"""Batches made ahead are those of a plain loop, errors come where they belong, and waiting is counted."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
import torch

from autoonco.nets.appearance import Look
from autoonco.nets.augmentation import Augmentation, augment
from autoonco.nets.loading import Loader


@pytest.mark.parametrize("ahead", [0, 1, 3, 50])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_results_come_in_order_each_once(ahead: int, n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = [float(torch.rand(1, generator=generator)) for _ in range(n)]
    generator = torch.Generator().manual_seed(0)
    jobs = (partial(lambda: float(torch.rand(1, generator=generator))) for _ in range(n))
    assert list(Loader(ahead=ahead).results(jobs)) == plain


def test_no_more_jobs_are_begun_than_ahead() -> None:
    begun: list[int] = []

    def job(number: int) -> int:
        begun.append(number)
        return number

    found = Loader(ahead=2).results(partial(job, number) for number in range(10))
    for taken in range(4):
        assert next(found) == taken
        time.sleep(0.02)
        assert len(begun) <= taken + 1 + 2
    found.close()
    time.sleep(0.02)
    assert len(begun) <= 6
    assert threading.active_count() < 50


def test_an_error_is_raised_where_its_result_would_be() -> None:
    def job(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    found = Loader(ahead=3).results(partial(job, number) for number in range(5))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(found)


def test_waiting_is_counted_and_is_less_where_work_goes_on_meanwhile() -> None:
    def slow() -> None:
        time.sleep(0.05)

    waited = {}
    for ahead in (0, 2):
        loader: Loader[None] = Loader(ahead=ahead)
        for _ in loader.results(slow for _ in range(6)):
            time.sleep(0.1)  # the network's step
        waited[ahead] = loader.waited_s
    assert waited[0] >= 0.3
    assert waited[2] < 0.6 * waited[0]


@pytest.mark.parametrize(
    ("look", "ndim"), [(look, n) for look in Look for n in (2, 3) if (look, n) != (Look.COLOUR, 3)]
)
def test_what_is_random_hangs_on_the_generator_alone(look: Look, ndim: int) -> None:
    """Not on torch's own, which the network's dropout uses in another thread at the same time."""
    how = Augmentation(
        intensity=1.0, noise=1.0, elastic=0.3, colour="jitter" if ndim == 2 else "none", looks=(look,)
    )
    crops = torch.rand(6, 3, *(12,) * ndim, generator=torch.Generator().manual_seed(3))
    found = []
    for outside in (0, 1):
        torch.manual_seed(outside)
        before = torch.random.get_rng_state()
        found.append(augment(crops, how, n_image_channels=3, generator=torch.Generator().manual_seed(5)))
        assert (torch.random.get_rng_state() == before).all()
    assert (found[0] == found[1]).all()
    assert not torch.equal(found[0], crops)
