"""What a Transformer attends to, what each head does, and what is lost without it."""
