"""Alembic's entry. It runs on a connection that the caller gives, in the caller's transaction."""

from alembic import context

from api.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
