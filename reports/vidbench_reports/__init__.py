"""The reports that come with vidbench: each reads a run and writes a file."""
