"""From state, evidence and time to what is to be done, and what becomes of a write that was decided.

Here belongs whatever may move a share or forbid it: the decision, orders, holds, going back and its stages, the journal
of a write under way, and the floor of the source's autoscaler. All of it returns values; nothing is done here.

Not here:

- how good or bad the evidence is: `analysis`, whose verdict is taken as it is; how it is cut into ticks: `counts`;
- which integers a share becomes: `balancing`;
- what would come, asked before it comes: `forecasts`;
- saving, sending, waiting, telling people: the service, in the order that `act.py` and `turn.py` give.

Of the rooms it alone needs `state`, and changes it by returning another one.
"""
