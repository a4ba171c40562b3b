"""Telling the CDN to forget what storage has lost: requests are rows first, then batches, then confirmed."""
