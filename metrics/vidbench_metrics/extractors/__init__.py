"""The extractors that come with vidbench."""
