"""The ledger: every accepted job, in SQLite or Postgres. SQLAlchemy is known nowhere else."""
