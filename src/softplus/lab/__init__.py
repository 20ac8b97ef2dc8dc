"""The lab: trains a task with Softplus, ReLU and others, and says which is better."""
