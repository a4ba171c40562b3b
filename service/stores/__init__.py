"""The only MongoDB queries. Each store owns one collection and speaks in documents and domain values."""
