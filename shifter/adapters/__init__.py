"""One door per outside system. Foreign errors are translated here, and adapters do not know each other."""
