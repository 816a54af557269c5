"""A third-party plug-in of vidbench."""
