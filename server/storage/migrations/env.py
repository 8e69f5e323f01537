"""Run by Alembic: migrates on the connection that `Storage` hands over."""

from alembic import context

from server.storage.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
