"""The door to plug-ins: what is broken is named and breaks nothing else."""

from __future__ import annotations

import sys

import pytest

from vidbench import plugins
from vidbench.errors import PluginError

GOOD = """
from vidbench.metric import ClipMetric, Needs, Score, ExtractorSpec
class Good(ClipMetric):
    name = "strange_good"; version = "1"; summary = "s"; reference = "r"; protocol = "p"; higher_is_better = True
    unit = "1"; value_range = (0.0, 1.0); aggregation = "mean"; needs = Needs((ExtractorSpec("frame_statistics"),))
    def score(self, observations, clip): return Score(1.0)
"""


def test_builtins_are_found_through_the_same_door():
    assert {"temporal_flickering", "psnr", "frechet_frame_distance"} <= set(plugins.metrics().names())
    assert plugins.metrics().distribution("psnr").startswith("vidbench ")


def test_a_strangers_metric_loads(install_plugin):
    install_plugin("strange-one", GOOD, "[vidbench.metrics]\nstrange_good = strange_one:Good\n")
    assert plugins.metrics().load("strange_good").summary == "s"
    assert plugins.metrics().distribution("strange_good") == "strange-one 1.0"


@pytest.mark.parametrize(
    ("source", "entry", "cause"),
    [
        ("import no_such_module_at_all\nGood = 1", "strange_good", "No module named 'no_such_module_at_all'"),
        ("raise SystemExit(4)", "strange_good", "SystemExit: 4"),
        ("Good = 1", "strange_good", "not a subclass of vidbench.metric.Metric"),
        (GOOD, "strange_other", "entry point is called 'strange_other'"),
        (GOOD.replace("unit =", "unti ="), "strange_good", "lacks the class attributes unit"),
        (GOOD.replace("def score", "def scoer"), "strange_good", "leaves abstract: score"),
        ("", "strange_good", "has no attribute 'Good'"),
    ],
)
def test_a_broken_plugin_names_distribution_and_cause_and_the_others_load(install_plugin, source, entry, cause):
    install_plugin("strange-two", source, f"[vidbench.metrics]\n{entry} = strange_two:Good\n")
    registry = plugins.metrics()
    with pytest.raises(PluginError, match=r"strange-two 1\.0") as caught:
        registry.load(entry)
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)
    loaded = registry.load_all()
    assert entry not in loaded
    assert "temporal_flickering" in loaded
    assert [failure.name for failure in registry.failures()] == [entry]


def test_a_duplicate_name_lists_both_distributions(install_plugin):
    install_plugin("strange-three", GOOD, "[vidbench.metrics]\nstrange_good = strange_three:Good\n")
    install_plugin("strange-four", GOOD, "[vidbench.metrics]\nstrange_good = strange_four:Good\n")
    with pytest.raises(PluginError, match=r"strange-four 1.0 .*and strange-three 1.0"):
        plugins.metrics().load("strange_good")
    assert "strange_good" not in plugins.metrics().load_all()


def test_an_unknown_name_gets_close_matches():
    with pytest.raises(PluginError, match="did you mean temporal_flickering"):
        plugins.metrics().load("temporal_flicker")


def test_listing_names_imports_nothing(install_plugin):
    install_plugin(
        "strange-five", "raise RuntimeError('imported')", "[vidbench.metrics]\nstrange_good = strange_five:Good\n"
    )
    assert "strange_good" in plugins.metrics().names()
    assert "strange_five" not in sys.modules
