"""Webhooks: what a request may ask of them, what is sent, and when."""
