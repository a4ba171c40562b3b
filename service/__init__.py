"""What the service does: use cases, stores, processing, delivery. No GraphQL except in `app.py` and `transport/`."""
