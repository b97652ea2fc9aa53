"""What the recorder and the notifier show of themselves, and of the ledger."""
