"""Floor 5: how long one waits, and how bytes leave. One small file for each transport."""
