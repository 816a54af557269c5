"""The reference generator: a small video world model, the game it learns, and planning in it.

Imported by its commands and by generator plug-ins only; the engine knows nothing of it.
"""
