"""Whether an attribution map can be believed: scores, controls and sanity checks."""
