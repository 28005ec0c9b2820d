"""A process's metrics as it answers them: Prometheus name with labels → value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_NAME = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Samples:
    """Sums and labels of families; a family that is not there is None or empty, never an error."""

    def __init__(self, metrics: Mapping[str, float]) -> None:
        self._families: dict[str, list[tuple[dict[str, str], float]]] = {}
        for sample, value in metrics.items():
            match = _NAME.fullmatch(sample)
            if match is not None and math.isfinite(value):
                labels = dict(_LABEL.findall(match[2] or ""))
                self._families.setdefault(match[1], []).append((labels, value))

    def total(self, family: str, **labels: str) -> float | None:
        """The sum over the samples that carry these labels; None when the process has no such family."""
        samples = self._families.get(family)
        if samples is None:
            return None
        return sum(value for present, value in samples if labels.items() <= present.items())

    def label_values(self, family_prefix: str, label: str) -> tuple[str, ...]:
        """The values that a label takes in the families whose names begin so, sorted."""
        return tuple(
            sorted(
                {
                    labels[label]
                    for family, samples in self._families.items()
                    if family.startswith(family_prefix)
                    for labels, _ in samples
                    if label in labels
                }
            )
        )
