"""How gradients are computed, layer by layer and batch by batch."""
