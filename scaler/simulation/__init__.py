"""The policy against a trace, with no process started: a discrete-event model of the system."""
