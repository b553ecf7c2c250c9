"""The kill drill: the real service dies, or is frozen, at every failpoint, and each time goes on where it was.

What dies when is in `plan`, who makes it happen in `conduct`, what is made of it in `verdict`. Nothing here decides
whether a write was right: that is for the rules of the checker, which do not know that there was a drill.
"""
