"""Manifests for Kubernetes, from the settings and the catalogue. Pure: nothing is written here."""
