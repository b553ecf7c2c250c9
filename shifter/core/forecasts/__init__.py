"""Looking ahead: how long a migration takes, what it costs at worst, and traffic made up to try a policy on.

Here belongs what is asked of the rules about days that have not been: when each step comes at the soonest, how soon a
dead target would be found, what both meshes would count in a scenario.

Not here:

- any rule of its own: a forecast lets the real ones (`analysis`, `deciding`) look at traffic that it makes up;
- what a recorded past would have been judged as, and playing a whole migration: `service/backtest`,
  `service/rehearsal.py`;
- how it is shown: `cli`.

It is the highest room: nothing else in the core needs it, so that no decision can rest on a guess.
"""
