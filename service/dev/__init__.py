"""The embedded stack: a real database, a real S3 server and a local edge on one machine, for development and tests."""
