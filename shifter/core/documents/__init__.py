"""What people write in files: the kinds, their keys and what two of them have in common."""
