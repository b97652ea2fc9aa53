"""The job log in one SQLite file, for the processes of one host."""
