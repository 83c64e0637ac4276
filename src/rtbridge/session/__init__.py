"""Floor 4: sessions. Who a client is, what it follows, what it asked; no socket, no wait, no user code in the turn."""
