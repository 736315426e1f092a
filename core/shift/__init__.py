"""How far a network falls when images are blurred, noisy or drawn."""
