"""Declarations: what channels and calls exist, what travels in them, and who is asking.

Nothing here touches a connection, the bus or a clock of its own. A declaration is made once, at import of the
app's code, and is told at once when it cannot work; from then on it only answers questions: does this name
exist, do these params fit, may this one follow.
"""
