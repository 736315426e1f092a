"""Why a model answers what it answers: what its parts hold, and how far learning reaches."""
