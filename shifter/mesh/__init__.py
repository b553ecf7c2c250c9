"""The embedded installer of the new mesh, and what carries the Istio configuration over to it."""
