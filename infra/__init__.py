"""Real Kafka, MinIO and Postgres on loopback, without container images, for tests and laptops."""
