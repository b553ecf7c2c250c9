"""The lab: a migration on one machine, made of real parts.

Real Envoys stand for both meshes' gateways and for the cloud balancer's data plane, real Prometheus servers measure
them, and a bounded load generator counts what users saw. Nothing here talks to a cloud, and everything listens on
127.0.0.1 only.
"""
