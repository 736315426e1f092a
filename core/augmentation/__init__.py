"""What an augmentation does to an image, to a network, and to what the network learns: measured, forecast, and scored."""
