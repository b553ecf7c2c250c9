"""The checker: was anything ever written that no evidence, order or fault explains? It knows nothing of shifter's code.

It judges what was seen of a run (`seen`): the cloud's log of writes, the rows of the history and the orders as they
are on the disk, what users got, and what went wrong on purpose (`kinds`). Real runs are judged by it and simulated
ones alike, so that a rule is written once and proven on both.
"""
