"""How GraphQL travels: over HTTP, over a WebSocket, and what both refuse before running anything."""
