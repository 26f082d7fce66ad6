"""What lies on disk: a run's directory, identity, log, tables and the meaning of every column."""
