"""Where a clip's pictures come from: containers, animated WebP, frame folders, arrays.

`vidbench.video.ClipReader` is the only user. Each module turns one kind of clip into single pictures and imports its
heavy library at the top, so the modules are imported only when a clip needs them.
"""
