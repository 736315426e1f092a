"""What a unit of an image network responds to: optimised and real images, with numbers that say how far to believe them."""
