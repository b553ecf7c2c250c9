"""The pure core: policies, splits, evidence, phases and the decision. No IO, clock, randomness or logging.

Every function here is handed what it needs, `now` included, and returns a value that says what should
happen. That is what lets the tests kill, replay and fuzz it without a single fake.
"""
