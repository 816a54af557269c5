"""Does a model do what its actions say? Metrics of control, memory and steadiness for clips with actions."""

from vidbench.suite import Suite

CONTROL = Suite(
    name="control",
    version="1",
    summary="actions read back, counterfactuals, there and back, camera turns, drift; CPU only, base install",
    metrics={
        "action_consistency": {},
        "delta_t_psnr": {},
        "counterfactual_divergence": {},
        "return_consistency": {},
        "trajectory_error": {},
        "drift": {},
        "psnr_drift": {},
    },
)
