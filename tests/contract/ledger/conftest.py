"""A ledger of each dialect for the tests of this folder."""

from tests.ledger import accepting, database, ledger_url

__all__ = ["accepting", "database", "ledger_url"]
