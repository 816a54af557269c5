"""The reference generator: a small world model on a game whose truth is known, to learn from and to score."""
