"""The door to a cluster's API server: state, orders, history, the lease, and what gateways run as.

`api.py` is what all of it needs of an API server, on plain objects; `client.py` asks a real one and alone imports
`kubernetes`. Everybody else in here knows kinds, names and resource versions, and no library.
"""
