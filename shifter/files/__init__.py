"""Files that people write: read with the place of everything in them, and answered in their writers' words.

Service, command line and lab read policies and fleets through here, so that one file means one thing and is wrong in
one wording. Which keys there are and what values may be is `core`'s; when files are read again is `service`'s.
"""
