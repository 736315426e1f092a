"""What a checkpoint answers: classes of images, next characters, and how often it is right."""
