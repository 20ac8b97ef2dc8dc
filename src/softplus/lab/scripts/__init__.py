"""A training script run unchanged, with every ReLU in it computing another activation."""
