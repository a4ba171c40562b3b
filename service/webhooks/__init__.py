"""What happens to media, told to back ends over HTTP: signed, in order, at least once."""
