"""The operator: its definition in plain torch, its kernels, and what serves which call."""
