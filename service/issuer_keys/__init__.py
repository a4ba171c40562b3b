"""Keys that tokens are verified with: those of the settings, and those that issuers publish as a JWKS."""
