"""The soak: minutes of a migration on real parts under many faults at once.

`plan` draws the faults, `hands` and `people` carry them out, `conduct` keeps something moving; `gather` collects what
was seen of it, `shifter/lab/checker` judges it, and `verdict` tells.
"""
