"""The page of `darkroom monitor`."""
