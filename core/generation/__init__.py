"""Generation: a language model in, sampled text and what can be said about it out."""
