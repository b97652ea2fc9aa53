"""What time does to jobs and their bytes, and what mends the rest."""
