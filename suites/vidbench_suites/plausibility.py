"""Is what a clip shows physically possible? Checked from the clip alone, on a CPU; findings say where and when not."""

from vidbench.suite import Suite

POLICY = '''\
# What `vidbench gate` asks where no policy is given. To begin your own: vidbench gate policy > policy.toml
# Every key is described in docs/gate.md.

policy = 1
name = "plausibility"

[require]
# Files that could not be read, at most.
unreadable = 0
# Share of clips that every check must have judged. The object checks judge .87 of real shots and .96 of packaged
# videos (docs/physics.md); below this too many clips are unlike those that the checks know.
coverage = 0.8

[[rule]]
name = "no clip with a finding"
findings = ["object_permanence", "gravity", "continuity", "solidity"]
max_clips = 0
note = """Of clips in which nothing is wrong, 3 to 7 in 100 have a finding by mistake: look at the picture first. \\
  [[accept]] keeps a clip that is fine from being counted."""

# Of a generator, rather than of these clips, a rate says more; it takes at least 52 clips, all without a finding:
# [[rule]]
# findings = ["object_permanence", "gravity", "continuity", "solidity"]
# max_rate = 0.05
'''

PLAUSIBILITY = Suite(
    name="plausibility",
    version="1",
    summary="object permanence, gravity, continuity, solidity and their overall score; base install, no reference",
    metrics={
        "object_permanence": {},
        "gravity": {},
        "continuity": {},
        "solidity": {},
        "plausibility": {},
        "frozen_frames": {},
        "shot_cuts": {},
    },
    policy=POLICY,
)
