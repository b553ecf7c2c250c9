"""Where traffic can go: routes, their members on the two sides, and a share as integer weights.

Here belongs what is true of weights whoever the provider is: whose a real server is, what a split amounts to, how a
wanted share becomes whole numbers, and which weights may be asked for at all.

Not here:

- which share is wanted, and whether it may rise: `deciding`;
- what of a share is seen in the metrics: `counts`, and when it counts as seen: `deciding`;
- a listener, an instance id, a limit of one cloud: the adapter that speaks it.

It knows no policy, no evidence and no time, and beside `counts` it is the lowest room: neither needs the other.
"""
