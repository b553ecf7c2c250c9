"""What people write in files: the kinds, their keys and what two of them have in common.

Here belongs every key with its type, default, range and what it may not be together with: a value that exists is valid.

Not here:

- YAML, lines and columns, and how a problem is worded for its author: `shifter/files`;
- what a key does: the room that obeys it (`analysis`, `deciding`); documents are looked at, they do nothing;
- which version of an edited file is in force: the service.

It stands on `balancing` and `counts`, since a policy names routes and failures; what is judged is of no concern to it.
"""
