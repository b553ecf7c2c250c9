"""The soak: minutes of a migration under many faults at once, and a checker that shares no code with the decision.

`plan` draws the faults, `hands` and `people` carry them out, `conduct` keeps something moving; `seen` is what was
seen, `gather` collects it, the `rules_*` judge it and `verdict` tells.
"""
