"""Partner files: each is accepted or refused as a whole, and each record of an accepted one is a row."""
