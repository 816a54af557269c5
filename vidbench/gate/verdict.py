"""What came out of holding a run against a policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vidbench.errors import EXIT_DONE, EXIT_GATE_FAILED, EXIT_INCOMPLETE
from vidbench.results import FindingRow, to_json

Outcome = Literal["passed", "failed", "incomplete"]
"""incomplete: the policy's question could not be answered, with too few clips for example. It is never a pass."""

EXIT_CODES = {"passed": EXIT_DONE, "failed": EXIT_GATE_FAILED, "incomplete": EXIT_INCOMPLETE}


@dataclass(frozen=True, slots=True)
class WorstClip:
    """A clip that a check speaks of."""

    clip: str
    told: str
    """What is with it: its score, its findings, why it is unscored."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule or requirement, held against one model."""

    rule: str
    model: str | None
    """None where it is about the whole run."""
    outcome: Outcome
    measured: str
    """What was found, in words."""
    bound: str
    """What the policy asks for, in words."""
    reason: str = ""
    """Why it did not pass, as a sentence; empty where it did."""
    note: str = ""
    """What the policy says beside the rule."""
    value: float | None = None
    limit: float | None = None
    """What `value` is held against; None where there are two bounds or none."""
    clips: tuple[WorstClip, ...] = ()
    """Worst first."""
    line: int | None = None
    """Of the rule in the policy file."""
    required: bool = False
    """True for what `[require]` asks for, False for a rule."""


@dataclass(frozen=True, slots=True)
class FlaggedClip:
    """A clip with findings that a rule counts."""

    clip: str
    model: str
    findings: tuple[FindingRow, ...]
    """The most confident first."""
    breaks: tuple[str, ...]
    """The rules that failed and count it; empty where all of them still pass."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole answer."""

    policy: str
    """Its name."""
    source: str
    """Its file."""
    run: str
    """The run folder."""
    settings_hash: str
    baseline: str | None
    checks: tuple[Check, ...]
    flagged: tuple[FlaggedClip, ...]
    """In the order in which a person should look at them."""
    accepted: tuple[str, ...] = ()
    """What was not counted because the policy accepts it, and entries that no longer accept anything, in words."""

    @property
    def outcome(self) -> Outcome:
        """Failed if anything failed: more clips would not mend that. Else incomplete if anything is."""
        outcomes = {check.outcome for check in self.checks}
        return "failed" if "failed" in outcomes else "incomplete" if "incomplete" in outcomes else "passed"

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 incomplete."""
        return EXIT_CODES[self.outcome]

    def of(self, *outcomes: Outcome) -> list[Check]:
        """The checks that came out so."""
        return [check for check in self.checks if check.outcome in outcomes]

    def models(self) -> list[str]:
        """The models that were judged."""
        return list(dict.fromkeys(check.model for check in self.checks if check.model is not None))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, with the outcome and the exit code."""
        return {"schema_version": 1, "outcome": self.outcome, "exit_code": self.exit_code, **to_json(self)}
