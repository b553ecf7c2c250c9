"""From state, evidence and time to what is to be done, and what becomes of a write that was decided."""
