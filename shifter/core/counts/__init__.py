"""What was counted: raw readings, how they become counts, and which answers count as failures."""
