"""The metrics that come with vidbench: one metric, one file."""
