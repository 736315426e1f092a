"""The checkpoints that ship. `python -m core.pretrained NAME` makes one again."""
