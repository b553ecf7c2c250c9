"""The pure core: policies, splits, evidence, phases and the decision. No IO, clock, randomness or logging.

Every function here is handed what it needs, `now` included, and returns a value that says what should
happen. That is what lets the tests kill, replay and fuzz it without a single fake.

It has rooms, each of which says what belongs in it. They stand on each other one way, which import-linter checks; from
the highest:

    forecasts    what a policy would lead to
    deciding     what is to be done
    (state)      what is remembered of a shift
    analysis     what the evidence says
    documents    what people wrote
    balancing | counts    where traffic can go; what was counted of it

Outside of the rooms is what belongs to none of them:

- `state` is the place that must never be lost: what it remembers comes from the rooms below it, and in the core only
  `deciding` needs it, but the store, the service and the commands need it as much. So it is a step of its own.
- `phases` are the words for where a shift is; state, decisions, reports and the diagram in the documents share them.
- `records` are history's form, and `chain` is what binds them: they know nothing of why something happened.
- `redaction` and `aliases` keep secrets and names out of what is shown to strangers, and `text` makes anybody's words
  fit to be shown. They are about letters, not about shifts.

All but `state` stand lowest: every room may need them, and they need none. What is new goes into a room; a module
beside the rooms is for what at least two of them, or somebody outside of the core, need without the room around it.
"""
