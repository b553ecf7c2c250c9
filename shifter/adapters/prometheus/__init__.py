"""The door to Prometheus: reads one mesh's gateway counters, for all namespaces at once.

    promql.py     the questions: pure text made of settings, where no value can become syntax
    transport.py  one bounded connection that refuses every answer that must not be believed
    readings.py   the answers: which pods are fresh, which namespace a series belongs to

Only raw counters are read, never `rate()`; `core/counters.py` differences them.
"""

from shifter.adapters.prometheus.readings import PrometheusMetrics

__all__ = ["PrometheusMetrics"]
