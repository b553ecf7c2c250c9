"""The `shifter` command: words in, a store's contents or one order out.

It needs no server of ours: orders lie in the store until the service reads them, so they work while the service
restarts. Data goes to stdout, everything else to stderr, and the exit code says what happened (`exits.py`).
"""
