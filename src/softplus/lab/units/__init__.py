"""The units of any model, counted call by call while batches go through it."""
