"""The promises of a metric, one check each."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, get_args

import numpy as np

from vidbench.errors import InputError, PluginError
from vidbench.extractor import PairExtractor
from vidbench.metric import (
    Aggregation,
    ClipMetric,
    Finding,
    Metric,
    Needs,
    PairMetric,
    Score,
    SetMetric,
)
from vidbench.testing._clips import Pixels, edge_clips, negative
from vidbench.testing._contract import (
    CHUNKS,
    SNAKE_CASE,
    TOLERANCE,
    ContractError,
    Given,
    check_parameters_of,
    check_text_facts,
    difference,
    require,
    same_state,
)
from vidbench.testing._run import (
    clip_of,
    described,
    extractor_class,
    is_network,
    loaded,
    observations,
    score,
    score_set,
    set_state,
)

STRENGTHS = (0.0, 0.25, 0.5, 1.0)
"""How strong each damage of `responds_to` is made, one after the other."""
SLACK = 0.05
"""How much better a value may get from one strength to the next, as a share of its change over all of them."""

AnyMetric = type[Metric[Any]]


class MetricCheck(Protocol):
    """Tries one promise of a metric; raises `ContractError` where it is broken."""

    @property
    def __name__(self) -> str: ...

    def __call__(self, metric: AnyMetric, given: Given | None = None) -> None: ...


def check_metric(metric: AnyMetric, given: Given | None = None) -> None:
    """Run every check of `metric_checks`.

    Raises:
        ContractError: at the first broken promise.
    """
    for check in metric_checks(metric):
        check(metric, given)


def metric_checks(metric: AnyMetric) -> tuple[MetricCheck, ...]:
    """One check per promise of this kind of metric."""
    checks: tuple[MetricCheck, ...] = (
        metric_facts,
        metric_parameters,
        metric_needs,
        metric_values,
        metric_repeats,
        metric_ignores_chunking,
        metric_leaves_observations_alone,
        metric_takes_edge_clips,
    )
    compares = issubclass(metric, PairMetric) or (issubclass(metric, SetMetric) and metric.identical_is_best)
    if compares and not metric.diagnostic:
        checks += (metric_knows_identical_input,)  # what only describes has no best value
    if issubclass(metric, SetMetric):
        checks += (metric_ignores_order, metric_merges, metric_leaves_empty_sets_unscored, metric_writes_its_state_down)
    if metric.responds_to:
        checks += (metric_responds_to_damage,)
    return checks


def metric_facts(metric: AnyMetric, given: Given | None = None) -> None:
    """Class facts are there, of the right type, and agree with each other."""
    own = metric.__name__
    check_text_facts(metric, ("name", "version", "summary", "reference", "protocol", "unit"))
    for fact, type_ in (("higher_is_better", bool), ("diagnostic", bool), ("needs", Needs), ("min_frames", int)):
        value = getattr(metric, fact, None)
        require(
            isinstance(value, type_), f"{own}.{fact} must be a class attribute of type {type_.__name__}, not {value!r}"
        )
    require(bool(metric.needs.extractors), f"{own}.needs names no extractor: it would have nothing to read")
    require(metric.min_frames >= 1, f"{own}.min_frames must be at least 1")
    kinds = ((SetMetric, "set"), (PairMetric, "pair"), (ClipMetric, "clip"))
    kind = next((kind for base, kind in kinds if issubclass(metric, base)), None)
    require(kind is not None, f"{own} is neither a ClipMetric, a PairMetric nor a SetMetric")
    require(metric.granularity == kind, f"{own}.granularity is '{metric.granularity}', its base class says '{kind}'")
    known, aggregation = get_args(Aggregation), getattr(metric, "aggregation", None)
    require(aggregation in known, f"{own}.aggregation must be one of {', '.join(known)}, it is {aggregation!r}")
    require(
        (aggregation == "set") == (kind == "set"), f"{own}.aggregation must be 'set' for set metrics, and only there"
    )
    value_range = getattr(metric, "value_range", None)
    if not (isinstance(value_range, tuple) and len(value_range) == 2 and all(map(_is_number, value_range))):
        raise ContractError(f"{own}.value_range must be a pair of numbers, it is {value_range!r}")
    require(value_range[0] < value_range[1], f"{own}.value_range must go from small to large, it is {value_range}")
    wrong = ("_distance", "_error") if metric.higher_is_better else ("_score", "_index")
    require(
        not metric.name.endswith(wrong),
        f"'{metric.name}' must not end in {' or '.join(wrong)}: {_better(metric)} is better",
    )


def metric_parameters(metric: AnyMetric, given: Given | None = None) -> None:
    """Parameters are a frozen dataclass of plain values that survives the way through text."""
    check_parameters_of(metric)


def metric_needs(metric: AnyMetric, given: Given | None = None) -> None:
    """The extractors, damages and baselines that the metric names exist, and the extractors fit its granularity."""
    from vidbench.baselines import BASELINES
    from vidbench.damage import DAMAGES

    given = given or Given()
    pairs = set()
    for spec in metric().extractor_specs():
        try:
            extractor = extractor_class(spec.name, given.extractors)
            extractor.from_mapping(spec.parameters)
        except (PluginError, InputError) as error:
            raise ContractError(f"{metric.__name__} needs the extractor '{spec.name}': {error}") from error
        pairs.add(issubclass(extractor, PairExtractor))
    if issubclass(metric, PairMetric):
        require(True in pairs, f"{metric.__name__} is a pair metric and needs at least one pair extractor")
    elif not issubclass(metric, SetMetric) or metric.needs.reference_set:
        require(True not in pairs, f"{metric.__name__} is no pair metric and can't need a pair extractor")
    unknown = ", ".join(name for name in metric.responds_to if name not in DAMAGES)
    require(
        not unknown,
        f"{metric.__name__}.responds_to names the unknown damage {unknown}; there are: {', '.join(DAMAGES)}",
    )
    unknown = ", ".join(name for name in metric.sees if name not in BASELINES)
    require(
        not unknown,
        f"{metric.__name__}.sees names the unknown baseline {unknown}; there are: {', '.join(BASELINES)}",
    )


def metric_values(metric: AnyMetric, given: Given | None = None) -> None:
    """Ordinary clips are scored, and the values and findings are well formed."""
    given = given or Given()
    for pixels, result in zip(given.clips, _results(metric, given), strict=False):
        _check_score(metric, result, pixels)
        require(result.value is not None, f"{metric.name} leaves an ordinary clip unscored: {result.reason}")


def metric_repeats(metric: AnyMetric, given: Given | None = None) -> None:
    """The same input gives the same score, bit for bit, whatever the instance has scored before."""
    given = given or Given()
    veteran = metric()
    first = _results(veteran, given)
    for again in (_results(veteran, given), _results(metric(), given)):
        for a, b in zip(first, again, strict=True):
            require(
                a == b,
                f"{metric.name} gives {_shown(a)} and then {_shown(b)} for the same input: "
                "an instance must keep nothing between clips",
            )


def metric_ignores_chunking(metric: AnyMetric, given: Given | None = None) -> None:
    """The value does not depend on how many frames come at once: exactly, or to rounding where a network is asked."""
    given = given or Given()
    tools = [loaded(extractor_class(spec.name, given.extractors)) for spec in metric().extractor_specs()]
    tolerance = TOLERANCE if any(map(is_network, tools)) else 0.0
    # A set of two may be too few.
    few = given if issubclass(metric, SetMetric) else replace(given, clips=given.clips[:2])
    whole = [_value(metric, result) for result in _results(metric, few)]
    for chunk in CHUNKS:
        for a, b in zip(whole, _results(metric, few, chunk), strict=True):
            require(
                math.isclose(a, _value(metric, b), rel_tol=tolerance),
                f"{metric.name} is {_shown(b)} where frames come {chunk} at a time and {a} where they come at once",
            )


def metric_leaves_observations_alone(metric: AnyMetric, given: Given | None = None) -> None:
    """Observations are read only: other metrics of a run read the same ones."""
    given = given or Given()
    scorer = metric()
    first, second = given.clips[:2]
    seen = observations(scorer, first, reference=second, extractors=given.extractors, describe=given.describe)
    before = copy.deepcopy(dict(seen))
    if isinstance(scorer, SetMetric):
        state = scorer.new_state()
        for _ in range(2):  # the second may work in place on what the first kept
            state = scorer.observe(state, seen)
    elif isinstance(scorer, ClipMetric):
        scorer.score(seen, described(clip_of(first, 8.0, paired=True), 0, given.describe))
    for name, observation in before.items():
        changed = difference(observation, seen[name])
        require(changed is None, f"{metric.name} writes into {changed} of the observation of {name}")


def metric_takes_edge_clips(metric: AnyMetric, given: Given | None = None) -> None:
    """Short, small, odd and empty-looking clips are scored, or unscored with a reason; nothing is raised."""
    given = given or Given()
    whole = given.clips[0]
    cases: list[tuple[str, Pixels, Pixels, float | None]] = [
        (what, pixels, _brighter(pixels[::-1]), 8.0) for what, pixels in edge_clips().items()
    ]
    cases.append(("an unknown frame rate", whole, _brighter(whole), None))
    if issubclass(metric, PairMetric):
        cases.append(("a shorter reference clip", whole, whole[:3], 8.0))
        cases.append(("a longer reference clip", whole[:3], whole, 8.0))
        cases.append(("a smaller reference clip", whole, whole[:, ::2, ::2], 8.0))
    for what, pixels, reference, fps in cases:
        try:
            if issubclass(metric, SetMetric):
                result = score_set(
                    metric,
                    generated=[pixels],
                    reference=[reference],
                    fps=fps,
                    extractors=given.extractors,
                    describe=given.describe,
                )
            else:
                result = score(
                    metric,
                    pixels,
                    reference=reference,
                    fps=fps,
                    extractors=given.extractors,
                    describe=given.describe,
                )
        except Exception as error:
            raise ContractError(
                f"{metric.name} raises {type(error).__name__} on a clip with {what}: {error}"
            ) from error
        _check_score(metric, result, pixels)


def metric_knows_identical_input(metric: AnyMetric, given: Given | None = None) -> None:
    """A clip against itself, or a set against itself, has the best value there is.

    Where the best is infinite, identical input may be unscored, or must have a better value than its negative.
    """
    given = given or Given()
    best = _best(metric)
    for same, other in zip(_results(metric, given, identical=True), _results(metric, given), strict=True):
        if math.isinf(best) and same.value is None:
            continue
        value, worse = _value(metric, same, "for identical input"), _value(metric, other)
        if math.isinf(best):
            require(
                _worsening(metric, value, worse) > 0,
                f"{metric.name} is {value} for identical input and {worse} for its negative: not worse",
            )
        else:
            require(
                abs(value - best) <= TOLERANCE * abs(worse - best),
                f"{metric.name} of identical input is {value}, its best value is {best} (its negative has {worse})",
            )


def metric_ignores_order(metric: AnyMetric, given: Given | None = None) -> None:
    """The order of the clips in a set makes no difference beyond rounding."""
    given = given or Given()
    backwards = replace(given, clips=given.clips[::-1])
    if given.describe is not None:
        own, last = given.describe, len(given.clips) - 1
        backwards = replace(backwards, describe=lambda clip, number: own(clip, last - number))
    a, b = (_value(metric, _results(metric, order)[0]) for order in (given, backwards))
    require(math.isclose(a, b, rel_tol=TOLERANCE), f"{metric.name} is {a}, and {b} with the clips in reverse order")


def metric_merges(metric: AnyMetric, given: Given | None = None) -> None:
    """Merged states equal a single pass, in any order; merging leaves its arguments as they were, then and later."""
    given = given or Given()
    scorer = _set_metric(metric)
    seen = [
        observations(
            scorer,
            negative(pixels),
            reference=None if scorer.needs.reference_set else pixels,
            extractors=given.extractors,
            describe=given.describe,
            number=number,
        )
        for number, pixels in enumerate(given.clips)
    ]
    reference = _reference_state(scorer, given)

    def pass_over(numbers: Iterable[int]) -> Any:
        state = scorer.new_state()
        for number in numbers:
            state = scorer.observe(state, seen[number])
        return state

    single = _value(metric, scorer.compare(pass_over(range(len(seen))), reference))
    half = len(seen) // 2
    first, second, empty = pass_over(range(half)), pass_over(range(half, len(seen))), scorer.new_state()
    before = copy.deepcopy((first, second, empty))
    scorer.merge(first, second)
    require(same_state((first, second, empty), before), f"{metric.name}.merge changes its arguments")
    for how, merged in (
        ("the first and the second half", scorer.merge(first, second)),
        ("the second and the first half", scorer.merge(second, first)),
        ("nothing and both halves", scorer.merge(scorer.merge(empty, first), second)),
        ("the second half, nothing and the first half", scorer.merge(scorer.merge(second, empty), first)),
    ):
        value = _value(metric, scorer.compare(merged, reference))
        require(
            math.isclose(value, single, rel_tol=TOLERANCE),
            f"{metric.name} is {single} in a single pass and {value} when merged from {how}",
        )
    # `observe` may work in place, so a merged state that shares an array with an argument would change it later.
    for a, b in ((first, second), (empty, first), (first, empty)):
        scorer.observe(scorer.merge(a, b), seen[0])
    require(
        same_state((first, second, empty), before),
        f"{metric.name}.merge returns a state that shares memory with its arguments: observing into it changes them",
    )
    require(same_state(scorer.new_state(), before[2]), f"{metric.name}.new_state gives a state that has seen something")


def metric_leaves_empty_sets_unscored(metric: AnyMetric, given: Given | None = None) -> None:
    """A set without clips is unscored with a reason, on either side."""
    given = given or Given()
    sides: tuple[tuple[str, Sequence[Pixels], Sequence[Pixels]], ...] = (
        ("generated set is", (), given.clips),
        ("reference set is", given.clips, ()),
        ("generated and reference sets are", (), ()),
    )
    for which, generated, reference in sides:
        if generated and not metric.needs.reference_set:
            continue
        try:
            result = score_set(
                metric,
                generated=generated,
                reference=reference,
                extractors=given.extractors,
                describe=given.describe,
            )
        except Exception as error:
            raise ContractError(
                f"{metric.name} raises {type(error).__name__} where the {which} empty: {error}"
            ) from error
        _check_score(metric, result, given.clips[0])
        require(result.value is None, f"{metric.name} is {result.value} where the {which} empty")


def metric_writes_its_state_down(metric: AnyMetric, given: Given | None = None) -> None:
    """What `pack` gives of a state is arrays and plain values, and `unpack` makes a state of the same value from it.

    A metric that keeps no reference statistics gives None, and nothing more is asked of it.
    """
    given = given or Given()
    scorer = _set_metric(metric)
    reference = _reference_state(scorer, given)
    before = copy.deepcopy(reference)
    generated = set_state(
        scorer,
        [negative(pixels) for pixels in given.clips],
        extractors=given.extractors,
        describe=given.describe,
        truths=None if scorer.needs.reference_set else given.clips,
    )
    value = _value(metric, scorer.compare(generated, reference))
    for features in (True, False):
        packed = scorer.pack(reference, features=features)
        require(same_state(reference, before), f"{metric.name}.pack changes the state")
        if packed is None:
            continue
        arrays: Any = packed[0]  # as yet unproved
        values = packed[1]
        require(
            all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in arrays.values()),
            f"{metric.name}.pack gives something else than arrays of numbers",
        )
        try:
            plain = json.loads(json.dumps(values, allow_nan=False))
            again = scorer.unpack({name: array.copy() for name, array in arrays.items()}, plain)
        except (TypeError, ValueError) as error:
            raise ContractError(f"{metric.name} cannot unpack what it packed: {error}") from error
        got = _value(metric, scorer.compare(generated, again))
        require(
            math.isclose(got, value, rel_tol=TOLERANCE),
            f"{metric.name} is {value}, and {got} against the same reference set written down",
        )
        for name in arrays:
            try:
                scorer.unpack({key: array for key, array in arrays.items() if key != name}, plain)
            except ValueError:
                continue
            raise ContractError(f"{metric.name}.unpack takes a state without its array {name}")


def metric_responds_to_damage(metric: AnyMetric, given: Given | None = None) -> None:
    """Each damage in `responds_to` makes the value worse, and steadily: see `STRENGTHS` and `SLACK`."""
    from vidbench.damage import DAMAGES

    given = given or Given()
    for name in metric.responds_to:
        values = {}
        for strength in STRENGTHS:
            damaged = [DAMAGES[name](pixels, strength, seed) for seed, pixels in enumerate(given.clips)]
            results = _results_of(metric, damaged, given)
            if strength == 0 and math.isinf(_best(metric)) and any(result.value is None for result in results):
                continue  # undamaged pairs are identical, and an infinite value cannot be given
            found = [_value(metric, result, f"under {name} of strength {strength:g}") for result in results]
            values[strength] = math.fsum(found) / len(found)
        shown = ", ".join(f"{strength:g}: {value:.6g}" for strength, value in values.items())
        shown = f"({shown}; {_better(metric)} is better)"
        steps = [_worsening(metric, a, b) for a, b in itertools.pairwise(values.values())]
        require(
            sum(steps) > TOLERANCE * max(map(abs, values.values())),
            f"{metric.name} does not get worse under {name} {shown}",
        )
        require(min(steps) >= -SLACK * sum(steps), f"{metric.name} gets better where {name} grows {shown}")


def _results(
    metric: AnyMetric | Metric[Any], given: Given, chunk: int | None = None, *, identical: bool = False
) -> list[Score]:
    """A score per clip, or one for the set: of the negatives against the clips, or of the clips against themselves."""
    generated = given.clips if identical else [negative(pixels) for pixels in given.clips]
    return _results_of(metric, generated, given, chunk)


def _results_of(
    metric: AnyMetric | Metric[Any], generated: Sequence[Pixels], given: Given, chunk: int | None = None
) -> list[Score]:
    scorer = metric() if isinstance(metric, type) else metric
    if isinstance(scorer, SetMetric):
        return [
            score_set(
                scorer,
                generated=generated,
                reference=given.clips,
                chunk=chunk,
                extractors=given.extractors,
                describe=given.describe,
            )
        ]
    return [
        score(
            scorer,
            pixels,
            reference=reference,
            chunk=chunk,
            extractors=given.extractors,
            describe=given.describe,
            number=number,
        )
        for number, (pixels, reference) in enumerate(zip(generated, given.clips, strict=True))
    ]


def _reference_state(scorer: SetMetric[Any, Any], given: Given) -> Any:
    """Of the reference set, or the empty one that a metric without gets."""
    if not scorer.needs.reference_set:
        return scorer.new_state()
    return set_state(scorer, given.clips, extractors=given.extractors, describe=given.describe)


def _best(metric: AnyMetric) -> float:
    return metric.value_range[1] if metric.higher_is_better else metric.value_range[0]


def _check_score(metric: AnyMetric, result: object, pixels: Pixels) -> None:
    if not isinstance(result, Score):
        raise ContractError(f"{metric.name} returns a {type(result).__name__}, not a Score")
    if result.value is None:
        require(bool(str(result.reason).strip()), f"{metric.name} leaves a clip unscored without a reason")
    else:
        require(_is_number(result.value), f"{metric.name}'s value is a {type(result.value).__name__}, not a float")
        low, high = metric.value_range
        require(
            low <= result.value <= high,
            f"{metric.name} is {result.value}, outside its value_range {metric.value_range}",
        )
    try:
        json.dumps(dict(result.details), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ContractError(f"{metric.name}: its details are not plain finite values: {error}") from error
    for finding in result.findings:
        _check_finding(metric, finding, pixels)


def _check_finding(metric: AnyMetric, finding: Finding, pixels: Pixels) -> None:
    count, height, width = pixels.shape[:3]
    own = f"{metric.name}: a finding"
    require(SNAKE_CASE.fullmatch(finding.kind) is not None, f"{own} of kind '{finding.kind}', which isn't snake_case")
    require(
        0 <= finding.start <= finding.end < count, f"{own} spans {finding.start} to {finding.end} of {count} frames"
    )
    require(bool(finding.message.strip()), f"{own} has no message")
    confidence = finding.confidence
    require(confidence is None or 0 <= confidence <= 1, f"{own} has the confidence {confidence}")
    for box in finding.boxes:
        x0, y0, x1, y1 = box.box
        require(finding.start <= box.frame <= finding.end, f"{own} has a box outside its frames: {box}")
        require(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height, f"{own} has a box outside the picture: {box}")


def _set_metric(metric: AnyMetric) -> SetMetric[Any, Any]:
    scorer = metric()
    if not isinstance(scorer, SetMetric):
        raise TypeError(f"{metric.name} is not a set metric")
    return scorer


def _value(metric: AnyMetric, result: Score, when: str = "for ordinary clips") -> float:
    if result.value is None:
        raise ContractError(f"{metric.name} is unscored {when}: {result.reason}")
    return float(result.value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _brighter(pixels: Pixels) -> Pixels:
    return np.clip(pixels.astype(np.int16) + 9, 0, 255).astype(np.uint8)


def _worsening(metric: AnyMetric, before: float, after: float) -> float:
    return before - after if metric.higher_is_better else after - before


def _better(metric: AnyMetric) -> str:
    return "higher" if metric.higher_is_better else "lower"


def _shown(result: Score) -> str:
    return f"nothing ({result.reason})" if result.value is None else str(result.value)
