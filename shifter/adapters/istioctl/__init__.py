"""The door to Istio's own tool: finding the right program, running it, and what its answers mean.

It is run as a person would run it, by a list of arguments, and is trusted with nothing else: not with the environment,
not with endless time or text, and not with what it says its version is until it has said it.
"""
