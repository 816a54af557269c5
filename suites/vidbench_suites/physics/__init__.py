"""The physics calibration suite: matched possible and impossible clips with truth, rendered from real engines.

`vidbench physics make` renders it, `train` and `score` fit and measure the learned layer on it. Modules, in the order
of the arrows between them:

    world        what a scene, a body, a trajectory and a take are
    scenarios    scenes at random, possible by construction
    planar       simulation in the plane (pymunk)
    truth        true boxes from label pictures
    violations   the fifteen kinds: what is done to a body, when, and in which frames it shows
    flat2d, lit3d, composite   one look each; they share no drawing code
    make         jobs, folder, truth.jsonl, metadata.csv
    tables       what the checks see in clips, remembered on disk
    labels       which events of a clip are its violation
    learn        fitting the learned layer
    scoring, baselines   how good it is, beside dumb measures
    calibrate    a user's own threshold

Both twins of a pair have one scene: the same simulation until something intervenes, the same camera, light and noise.
They are equal pixel for pixel (before coding) until then. `start` in the truth is the first frame in which a person can
see it: where a path parts slowly from the true one, a frame or two later.
"""
