"""A user's own threshold, from clips of theirs in which nothing is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidbench.errors import InputError
from vidbench_metrics.physics.model import Calibration, PhysicsModel, conformal_threshold
from vidbench_suites.physics.tables import ClipTable


def calibrate(tables: Sequence[ClipTable], model: PhysicsModel, false_alarms: float) -> Calibration:
    """The suspicion that a further good clip exceeds with a probability of at most `false_alarms`.

    Clips that cannot be judged neither help nor harm: the promise is about those that can.

    Args:
        tables: good clips.
        model: judges them.
        false_alarms: wanted rate.

    Raises:
        InputError: too few clips that can be judged; says how many the rate takes.
    """
    verdicts = [model.judge(table.events, table.context) for table in tables]
    scores = [verdict.suspicion for verdict in verdicts if verdict.suspicion is not None]
    try:
        threshold = conformal_threshold(np.array(scores, np.float64), false_alarms)
    except InputError as error:
        aside = len(verdicts) - len(scores)
        why = f" ({aside} of {len(verdicts)} clips cannot be judged)" if aside else ""
        reachable = f"; {len(scores)} clips allow {1 / (len(scores) + 1):.3g} at best" if scores else ""
        raise InputError(f"{error}{why}{reachable}") from None
    return Calibration(threshold, false_alarms, len(scores), model.checksum)
