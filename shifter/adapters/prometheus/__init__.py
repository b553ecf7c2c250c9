"""The door to Prometheus: reads one mesh's gateway counters, for all namespaces at once.

    promql.py     the questions: pure text made of settings, where no value can become syntax
    transport.py  one bounded connection that refuses every answer that must not be believed
    presence.py   the answers: which pods there are, how old their samples are, and why there is none
    readings.py   the answers: what each fresh pod counted, and which namespace a series belongs to
    recorded.py   the same questions and answers about instants that are past
    probe.py      what `shifter doctor` asks besides

Only raw counters are read, never `rate()`; `core/counts/counters.py` differences them.
"""

from shifter.adapters.prometheus.probe import PrometheusProbe
from shifter.adapters.prometheus.readings import PrometheusMetrics

__all__ = ["PrometheusMetrics", "PrometheusProbe"]
