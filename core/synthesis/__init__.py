"""Images that a generator makes, whether they are copies, how far they are from real ones, and what they are worth."""
