"""The containers, as a user starts them. Needs a Docker engine: `make e2e`."""
