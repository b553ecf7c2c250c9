"""shifter carries production traffic from Tencent Cloud Mesh to a self-built Istio.

The tree is the architecture: `cli > lab > wiring > {service | adapters} > ports > core > errors`,
imports point one way and import-linter enforces it. `docs/architecture.md` says where a line of code goes.
"""

__version__ = "0.1.0"
