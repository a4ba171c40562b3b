"""Commands for people and scripts: what they print, and the exit codes they end with."""
