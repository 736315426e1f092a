"""The checkpoints that ship: `python -m scripts.make_pretrained NAME` makes one again."""
