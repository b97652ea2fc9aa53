"""What each process of the API is made of: one composition root a file."""
