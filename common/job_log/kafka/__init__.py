"""The job log over Kafka."""
