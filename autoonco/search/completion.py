"""Which configs of a rung are scored on their other folds at once, without waiting for a promotion.

Where the dear part of a config is paid once, as the embeddings of a frozen network or the features of a filter are, its
first fold costs nearly all and the others next to nothing. Brackets don't know that: on 500 pictures in two minutes a
search had seen four frozen networks on one fold each and none but the default on all; fine-tuning took the rest.
"""

from __future__ import annotations

from autoonco.families.contract import Fidelity

NEXT_TO_NOTHING = 0.1
"""Largest share that the other folds may add to what the rung was expected to take."""


def is_due(rung: Fidelity, *, rung_s: float, full_s: float) -> bool:
    """Return whether a config that has been scored at a rung is to be scored in full at once.

    Parameters
    ----------
    rung
        What of its full training it had. Fewer epochs or cases are no part of it: then all is still to be paid.
    rung_s, full_s
        What its family expects of the rung and of full training, in seconds.

    Examples
    --------
    >>> is_due(Fidelity(folds=1), rung_s=17.6, full_s=18.3)
    True
    >>> is_due(Fidelity(folds=1), rung_s=2.0, full_s=10.0)
    False
    """
    is_part = rung.epochs is None and rung.cases is None
    return is_part and full_s - rung_s <= NEXT_TO_NOTHING * rung_s
