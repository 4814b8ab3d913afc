"""How long the models are tried: for seconds with the suite, for hours with HYPOTHESIS_PROFILE=thorough.

BOTVISOR_MODEL_FACTOR says how many times as many examples a thorough run tries; 40 if it does not.
"""

import os

from hypothesis import HealthCheck, Phase, settings

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
_FACTOR = int(os.environ.get("BOTVISOR_MODEL_FACTOR", "40")) if THOROUGH else 1

settings.register_profile(
    "models",
    deadline=None,  # other programs run beside
    print_blob=True,
    report_multiple_bugs=False,
    # Without an explanation: before Python 3.12 it traces every line.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def examples(count, *, steps=50):
    """Return the settings of a model that is tried so often, with so many steps at most each time."""
    return settings(settings.get_profile("models"), max_examples=count * _FACTOR, stateful_step_count=steps)
