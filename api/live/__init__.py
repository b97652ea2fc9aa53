"""What jobs and workers do now, for whoever watches or waits."""
