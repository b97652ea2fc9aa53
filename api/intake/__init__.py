"""From a request's bytes to a checked submission."""
