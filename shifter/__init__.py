"""shifter carries production traffic from Tencent Cloud Mesh to a self-built Istio.

The tree is the architecture: `cli > lab > wiring > {service | adapters} > {ports | files} > core > errors`,
imports point one way and import-linter enforces it. `docs/architecture.md` says where a line of code goes.
"""

from typing import Final

__version__ = "0.1.0"

API_VERSION: Final = "shifter.io/v1alpha1"
"""The format of the files people write and of the documents that commands print."""
