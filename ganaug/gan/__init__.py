"""Tensors only: networks, losses, augmentation, the training step, the loop and its checkpoint."""
