"""Does it work? Ready means that a token came out."""
