"""The suites that come with vidbench."""
