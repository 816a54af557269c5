"""Calibration of the plausibility checks: clips with known violations, training and scoring."""
